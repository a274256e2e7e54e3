"""Writes products and lookups of weights in blocks as ONNX Runtime's own ops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import Builder, Editor, attribute, attribute_list, input_at, is_op, label, nodes, rank
from npuopt.passes.quantize.packing import feature_axis, packed
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.passes.quantize.packing import PackedWeight
    from npuopt.target import Target

DOMAIN = "com.microsoft"


@dataclass(frozen=True)
class FuseWeightDequantize(Pass):
    """Products and lookups of weights of 4 or 8 bits become MatMulNBits and GatherBlockQuantized of ONNX Runtime.

    `MatMul(x, DequantizeLinear(w, s, z)) -> MatMulNBits(x, w', s', z')`, also through a Transpose, and as Gemm with
    an Add for its bias; `Gather(DequantizeLinear(t, s, z), i) -> GatherBlockQuantized(t', i, s', z')`. A table that
    is a product's weight too is kept once. A scale for each channel becomes the scale of each of its blocks.

    Left alone: weights that are read otherwise too; blocks that are no power of two of at least 16; one scale for
    the whole tensor; other types; weights of rank other than 2; Gemm with factors or a transposed first operand;
    tables whose rows are no whole number of blocks.

    Attributes:
        accuracy_level: what MatMulNBits may round what it multiplies with to: 0 for nothing, 4 for 8 bits, which is
            faster.
    """

    name: ClassVar[str] = "fuse-weight-dequantize"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    accuracy_level: int = 0

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Fuse every weight all of whose readers can be fused."""
        del target  # whether these ops are wanted is asked by whoever runs the pass
        report, edit = Report(self.name), Editor(model)
        for dequantize in nodes(model, "DequantizeLinear"):
            readers = _readers(dequantize)
            if not readers:
                continue
            strangers = [reader for reader in readers if not _multiplies(reader, dequantize) and not _looks_up(reader)]
            if strangers or dequantize.outputs[0].is_graph_output():
                what = strangers[0].op_type if strangers else "the graph's output"
                if any(is_op(reader, "MatMul", "Gather") for reader in readers):
                    report.declined.append(Entry(label(dequantize), "DequantizeLinear", f"{what} reads it too"))
                continue
            weight = packed(dequantize)
            if not isinstance(weight, str) and weight.features % weight.block and any(map(_looks_up, readers)):
                weight = f"rows of {weight.features} are no whole number of blocks of {weight.block}"
            if isinstance(weight, str):
                report.declined.append(Entry(label(dequantize), "DequantizeLinear", weight))
                continue
            text = f"{len(readers)} readers of {weight.bits} bits in blocks of {weight.block}"
            report.changed.append(Entry(label(dequantize), "DequantizeLinear", text))
            self._fuse(dequantize, readers, weight, edit)
        return report

    def _fuse(self, dequantize: Node, readers: list[Node], weight: PackedWeight, edit: Editor) -> None:
        name, parameters = dequantize.outputs[0].name or "", list(dequantize.inputs)
        first = next(iter(edit.model.graph))
        arrays = {"packed": weight.data, "scales": weight.scales, "zero_points": weight.zero_points}
        products = [reader for reader in readers if not is_op(reader, "Gather")]
        if not products:
            arrays["packed"] = weight.data.reshape(weight.channels, -1)
        data, scales, points = (
            None if array is None else edit.constant(array, near=first, name=f"{name}/{kind}")
            for kind, array in arrays.items()
        )
        operands = [data, scales, points]
        for reader in products:
            self._multiply(reader, weight, operands, Builder(edit, reader))
        lookups = [reader for reader in readers if is_op(reader, "Gather")]
        if lookups and products:
            build = Builder(edit, lookups[0])
            operands[0] = build("Reshape", data, build.integers(weight.channels, -1))
        for reader in lookups:
            _look_up(reader, weight, operands, edit)
        edit.erase_unread(dequantize)
        for value in parameters:  # now, as a model has room for one large weight in both layouts, not for all
            if value is not None and not value.uses() and not value.is_graph_output():
                edit.model.graph.initializers.pop(value.name or "", None)

    def _multiply(self, reader: Node, weight: PackedWeight, operands: list[Value | None], build: Builder) -> None:
        inputs = [input_at(reader, 0), *operands]
        sizes = {"K": weight.features, "N": weight.channels, "bits": weight.bits, "block_size": weight.block}
        made = build.edit.emit(
            "MatMulNBits",
            inputs[:-1] if inputs[-1] is None else inputs,
            {**sizes, "accuracy_level": self.accuracy_level},
            before=reader,
            domain=DOMAIN,
        )
        bias = input_at(reader, 2) if is_op(reader, "Gemm") else None
        transpose = input_at(reader, 1)
        build.edit.replace_node(reader, made if bias is None else build("Add", made, bias))
        build.edit.erase_unread(None if transpose is None else transpose.producer())


def _look_up(reader: Node, weight: PackedWeight, operands: list[Value | None], edit: Editor) -> None:
    data, scales, points = operands
    inputs = [data, input_at(reader, 1), scales, *([] if points is None else [points])]
    attributes = {"bits": weight.bits, "block_size": weight.block, "gather_axis": 0, "quantize_axis": 1}
    made = edit.emit("GatherBlockQuantized", inputs, attributes, before=reader, domain=DOMAIN)
    edit.replace_node(reader, made)


def _readers(dequantize: Node) -> list[Node]:
    """List what reads the weight, Transpose seen through."""
    found: list[Node] = []
    for use in dequantize.outputs[0].uses():
        if is_op(use.node, "Transpose"):
            found += [inner.node for inner in use.node.outputs[0].uses()]
        else:
            found.append(use.node)
    return list(dict.fromkeys(found))


def _multiplies(reader: Node, dequantize: Node) -> bool:
    """Say whether the node multiplies by the weight and sums over its features."""
    weight = input_at(reader, 1)
    maker = None if weight is None else weight.producer()
    turned = maker is not dequantize
    if maker is None or (input_at(reader, 0) or weight) is weight or (rank(input_at(reader, 0)) or 0) < 2:
        return False
    if turned and not (is_op(maker, "Transpose") and attribute_list(maker, "perm", [1, 0]) == [1, 0]):
        return False
    if is_op(reader, "Gemm"):
        plain = attribute(reader, "alpha", 1.0) == attribute(reader, "beta", 1.0) == 1 and not attribute(
            reader, "transA", 0
        )
        turned ^= bool(attribute(reader, "transB", 0))
        if not plain:
            return False
    elif not is_op(reader, "MatMul"):
        return False
    return feature_axis(dequantize) == (1 if turned else 0)


def _looks_up(reader: Node) -> bool:
    """Say whether the node picks rows of the weight itself."""
    table = input_at(reader, 0)
    maker = None if table is None else table.producer()
    is_rows = maker is not None and is_op(maker, "DequantizeLinear") and feature_axis(maker) == 1
    return is_op(reader, "Gather") and attribute(reader, "axis", 0) in (0, -2) and is_rows
