"""Writes an ONNX model, float or with QuantizeLinear and DequantizeLinear, as a TFLite model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.delegates.litert.context import Context
from npuopt.delegates.litert.emitters import EMITTERS
from npuopt.delegates.litert.kernel_limits import why_in_float, why_rather_in_float
from npuopt.delegates.litert.ports import Port
from npuopt.delegates.litert.step import step_of
from npuopt.delegates.litert.values import (
    QUANTIZED_TYPES,
    Held,
    channels_last,
    computes_in_integers,
    dequantizer,
    element,
    encoding_of,
    plain,
    quantizers_of,
)
from npuopt.errors import InputError
from npuopt.graph import Model, is_constant, is_op, label, load

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.delegates.litert.flat import FlatModel
    from npuopt.graph import Node, Value


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        inputs: of the TFLite model.
        outputs: of the TFLite model.
        operators: name -> how many there are.
        in_float: nodes that compute in float though their tensors are quantized, and why.
        by_choice: those of them for which LiteRT has no integer kernel as exact, and that integers may hold.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operators: dict[str, int]
    in_float: dict[str, str]
    by_choice: frozenset[str] = frozenset()


def export(model: Path, output: Path, *, interpreted: bool = False, folded_means: bool = False) -> Exported:
    """Write the ONNX file `model`, of static shapes and in the canonical opset, as the TFLite file `output`.

    Images are held channels last, graph inputs and outputs of rank 4 too where a node wants them so; inputs that are
    only quantized and outputs that are only dequantized become integer inputs and outputs.

    Args:
        model: the ONNX file.
        output: the TFLite file.
        interpreted: LiteRT's kernels compute the file, and no vendor's compiler reads it: what they are coarse at goes
            through float.
        folded_means: Vela compiles the file: means over few positions of an image are depthwise convolutions.

    Raises:
        InputError: a node has no TFLite form, or the weights do not fit into the file.
    """
    return export_model(load(model), output, interpreted=interpreted, folded_means=folded_means)


def export_model(model: Model, output: Path, *, interpreted: bool = False, folded_means: bool = False) -> Exported:
    """Write a model in memory; see `export`."""
    exporter = _Exporter(model, Context(interpreted=interpreted, folded_means=folded_means))
    flat = exporter.run()
    flat.write(output)
    operators: dict[str, int] = {}
    for operator in flat.operators:
        operators[operator.name] = operators.get(operator.name, 0) + 1
    return Exported(
        tuple(exporter.inputs),
        tuple(exporter.outputs),
        dict(sorted(operators.items())),
        exporter.in_float,
        frozenset(exporter.by_choice),
    )


class _Exporter:
    """One export."""

    def __init__(self, model: Model, context: Context) -> None:
        self.graph = model.graph
        self.context = context
        self.inputs: list[Port] = []
        self.outputs: list[Port] = []
        self.in_float: dict[str, str] = {}
        self.by_choice: set[str] = set()
        self.done: set[Node] = set()

    def run(self) -> FlatModel:
        """Write all nodes, then name inputs and outputs."""
        self._quantized_inputs()
        for node in self.graph:
            if node in self.done:
                continue
            if is_op(node, "QuantizeLinear"):
                self._quantize(node)
            elif not is_op(node, "DequantizeLinear"):
                self._write(node)
        self._name_ports()
        return self.context.flat

    def _quantized_inputs(self) -> None:
        """Make integer inputs of those that are only quantized, all with one encoding."""
        for value in self.graph.inputs:
            readers = quantizers_of(value)
            encodings = {(encoding_of(node), element(node.outputs[0])) for node in readers}
            if len(encodings) == 1:
                self.context.quantized_input(value, readers)
                self.done.update(readers)

    def _quantize(self, node: Node) -> None:
        """Write a QuantizeLinear that no operator does by the way."""
        source, stored = node.inputs[0], node.outputs[0]
        if source is None or self.context.has(stored):
            return
        self.context.quantize(source, stored, encoding_of(node))

    def _write(self, node: Node) -> None:
        emitter = EMITTERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if emitter is None:
            raise InputError(f"{node.op_type} has no TFLite form", where=label(node))
        step = step_of(node)
        self.done.update(step.swallowed)
        integers, kind = mode_of(node, step.outputs)
        if integers and (why := self._why_in_float(node, kind, step.outputs)):
            self.in_float[node.name or ""] = why
            integers, kind = False, "float32"
        self.context.start(integers=integers, kind=kind)
        emitter(step, self.context)

    def _why_in_float(self, node: Node, kind: str, outputs: tuple[Value, ...]) -> str:
        """Return why a node between integers is computed in float, or an empty string."""
        if self.context.interpreted and (why := why_rather_in_float(node, kind)):
            self.by_choice.add(node.name or "")
            return why
        return why_in_float(node, kind, outputs)

    def _name_ports(self) -> None:
        context = self.context
        for value in self.graph.inputs:
            if is_constant(value):
                continue
            held = context.input_of(value)
            context.flat.inputs.append((value.name or "", held.index))
            self.inputs.append(_port(value, held))
        taken = {index for _, index in context.flat.inputs}
        for value in self.graph.outputs:
            held = context.output_of(value)
            if held.order not in (plain(held.rank), channels_last(held.rank)):
                held = context.reorder(held, plain(held.rank))
            if held.index in taken:
                held = context.copy(held, value.name or "")
            taken.add(held.index)
            context.flat.outputs.append((value.name or "", held.index))
            self.outputs.append(_port(value, held))


def mode_of(node: Node, outputs: tuple[Value, ...]) -> tuple[bool, str]:
    """Return whether a node is computed in integers, and the element type of its activations."""
    if not computes_in_integers(node, outputs):
        return False, "float32"
    sources = [maker.inputs[0] for value in node.inputs if (maker := dequantizer(value)) is not None]
    kinds = [element(source) for source in sources if source is not None and not is_constant(source)]
    kinds += [element(node.outputs[0]) for value in outputs for node in quantizers_of(value)]
    kind = kinds[0] if kinds else "float32"
    return kind in QUANTIZED_TYPES, kind


def _port(value: Value, held: Held) -> Port:
    encoding = held.encoding
    scale, zero = (encoding.scale, encoding.zero_point) if encoding is not None else (0.0, 0)
    return Port(value.name or "", held.shape, held.dtype, held.order, element(value), scale, zero)
