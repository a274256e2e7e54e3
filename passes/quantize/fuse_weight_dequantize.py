"""Writes products and lookups of weights in blocks as ONNX Runtime's own ops."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from npuopt.graph import Builder, Editor, infer_shapes, input_at, is_op, label, nodes, static_shape
from npuopt.passes.quantize.packing import packed
from npuopt.passes.quantize.weight_readers import looks_up, multiplies, readers_of
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.passes.quantize.packing import PackedWeight
    from npuopt.target import Target

DOMAIN = "com.microsoft"

Ranks: TypeAlias = tuple[int, int]
"""Least and greatest rank."""


@dataclass(frozen=True)
class FuseWeightDequantize(Pass):
    """Products and lookups of weights of 4 or 8 bits become MatMulNBits and GatherBlockQuantized of ONNX Runtime.

    `MatMul(x, DequantizeLinear(w, s, z)) -> MatMulNBits(x, w', s', z')`, also through a Transpose, and as Gemm with
    an Add for its bias; `Gather(DequantizeLinear(t, s, z), i) -> GatherBlockQuantized(t', i, s', z')`. A table that
    is a product's weight too is kept once. A scale for each channel becomes the scale of each of its blocks.

    Left alone: weights that are read otherwise too; blocks that are no power of two of at least 16; one scale for
    the whole tensor; other types; weights of rank other than 2; Gemm with factors or a transposed first operand;
    tables whose rows are no whole number of blocks. Operands of ranks that the target does not take in MatMulNBits
    are reshaped where their sizes are known, and what they make back.

    Attributes:
        accuracy_level: what MatMulNBits may round what it multiplies with to: 0 for nothing, 4 for 8 bits, which is
            faster.
    """

    name: ClassVar[str] = "fuse-weight-dequantize"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    accuracy_level: int = 0

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Fuse every weight all of whose readers can be fused."""
        rule = None if target is None else target.rule("MatMulNBits", DOMAIN)
        ranks = None if rule is None else rule.rank
        report, edit = Report(self.name), Editor(model)
        for dequantize in nodes(model, "DequantizeLinear"):
            readers = readers_of(dequantize)
            if not readers:
                continue
            strangers = [reader for reader in readers if not multiplies(reader, dequantize) and not looks_up(reader)]
            if strangers or dequantize.outputs[0].is_graph_output():
                what = strangers[0].op_type if strangers else "the graph's output"
                if any(is_op(reader, "MatMul", "Gather") for reader in readers):
                    report.declined.append(Entry(label(dequantize), "DequantizeLinear", f"{what} reads it too"))
                continue
            weight = packed(dequantize)
            if not isinstance(weight, str) and weight.features % weight.block and any(map(looks_up, readers)):
                weight = f"rows of {weight.features} are no whole number of blocks of {weight.block}"
            if isinstance(weight, str):
                report.declined.append(Entry(label(dequantize), "DequantizeLinear", weight))
                continue
            text = f"{len(readers)} readers of {weight.bits} bits in blocks of {weight.block}"
            report.changed.append(Entry(label(dequantize), "DequantizeLinear", text))
            self._fuse(dequantize, readers, weight, ranks, edit)
        if report.changed:
            infer_shapes(model)  # of what is reshaped or added to behind an op that is not of ONNX
        return report

    def _fuse(
        self, dequantize: Node, readers: list[Node], weight: PackedWeight, ranks: Ranks | None, edit: Editor
    ) -> None:
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
            self._multiply(reader, weight, operands, ranks, Builder(edit, reader))
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

    def _multiply(
        self,
        reader: Node,
        weight: PackedWeight,
        operands: list[Value | None],
        ranks: Ranks | None,
        build: Builder,
    ) -> None:
        x = input_at(reader, 0)
        shape = static_shape(x)
        shapes = None if ranks is None or shape is None or x is None else _taken(shape, ranks)
        inputs = [x if shapes is None or x is None else build("Reshape", x, build.integers(*shapes)), *operands]
        sizes = {"K": weight.features, "N": weight.channels, "bits": weight.bits, "block_size": weight.block}
        made = build.edit.emit(
            "MatMulNBits",
            inputs[:-1] if inputs[-1] is None else inputs,
            {**sizes, "accuracy_level": self.accuracy_level},
            before=reader,
            domain=DOMAIN,
        )
        if shapes is not None and shape is not None:
            made = build("Reshape", made, build.integers(*shape[:-1], weight.channels))
        bias = input_at(reader, 2) if is_op(reader, "Gemm") else None
        transpose = input_at(reader, 1)
        build.edit.replace_node(reader, made if bias is None else build("Add", made, bias))
        build.edit.erase_unread(None if transpose is None else transpose.producer())


def _taken(shape: tuple[int, ...], ranks: Ranks) -> tuple[int, ...] | None:
    """Return the shape in which the target takes rows of this one; None where it takes them as they are."""
    least, most = ranks
    if len(shape) < least:
        return (*(1,) * (least - len(shape)), *shape)
    if len(shape) > most:
        return (prod(shape[: len(shape) - most + 1]), *shape[len(shape) - most + 1 :])
    return None


def _look_up(reader: Node, weight: PackedWeight, operands: list[Value | None], edit: Editor) -> None:
    data, scales, points = operands
    inputs = [data, input_at(reader, 1), scales, *([] if points is None else [points])]
    attributes = {"bits": weight.bits, "block_size": weight.block, "gather_axis": 0, "quantize_axis": 1}
    made = edit.emit("GatherBlockQuantized", inputs, attributes, before=reader, domain=DOMAIN)
    edit.replace_node(reader, made)
