"""A float model with a quantized twin of each layer beside it, to see what one layer's rounding does by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import DataType, Editor, Shape, TensorType, Value, is_constant, is_op, subgraphs_of
from npuopt.quantization.encodings import Encodings
from npuopt.quantization.roles import data_inputs, float_values, is_parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from npuopt.graph import Model, Node
    from npuopt.quantization.encodings import Encoding

    Insert = Callable[[Model, Encodings], object]

CARRYING = frozenset(
    {
        *("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "Identity", "MaxPool", "Pad"),
        *("Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
    }
)
"""Ops that add no error of their own where they read and write one encoding."""

CUTTING = ("Clip", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Tanh")
"""Ops that make the same of all numbers beyond some bound."""


@dataclass(frozen=True)
class Layer:
    """What rounds numbers: a node with what it reads and makes in integers, or a graph input that is held so.

    Attributes:
        name: the tensor that it makes, or the graph input.
        op_type: the node's type; empty for a graph input.
        signal: name of the scalar in the probe that is the sum of the float tensor's squares.
        noise: name of the scalar that is the sum of the squares of the layer's own error. Where an activation function
            is all that reads it, both are measured behind that.
        switch: name of the truth value that lets the model go on with the layer's own error.
    """

    name: str
    op_type: str
    signal: str
    noise: str
    switch: str


@dataclass(frozen=True)
class Probe:
    """The model to run.

    Attributes:
        model: computes as the float model does where all switches are off.
        layers: its layers, in the order of the graph.
        outputs: what the float model's outputs are called here.
    """

    model: Model
    layers: tuple[Layer, ...]
    outputs: dict[str, str]


def probe_model(model: Model, encodings: Encodings, insert: Insert) -> Probe:
    """Put a quantized twin beside each layer, with its error measured, and a switch to go on with it.

    A twin reads floats; what it reads is rounded only where it is converted for this use, since all other rounding is
    an error of the layer that made it. So the errors of all layers together are those of the quantized model.

    Args:
        model: the float model; it stays as it is.
        encodings: of the quantized model, with the corrections that go with its weights.
        insert: writes encodings into a graph, as `insert-quantize-dequantize` does.
    """
    return _Twins(model.clone(), encodings).build(insert)


class _Twins:
    def __init__(self, model: Model, encodings: Encodings) -> None:
        self._model = model
        self._edit = Editor(model)
        self._last = list(model.graph)[-1]
        self._given = encodings
        self._tensors: dict[str, Encoding] = {}
        self._uses: dict[str, dict[int, Encoding]] = {}
        self._corrections: dict[str, dict[int, tuple[float, ...]]] = {}
        self._measured: list[Value] = []

    def build(self, insert: Insert) -> Probe:
        """Make the probe: twins first, then their encodings, then what measures and chooses between both."""
        graph = self._model.graph
        names = [value.name or "" for value in graph.outputs]
        twins = [(value, twin) for value in float_values(self._model) if (twin := self._twin(value)) is not None]
        seen = [(value, twin, self._emit("Identity", [twin])) for value, twin in twins]
        insert(self._model, Encodings(tensors=self._tensors, uses=self._uses, corrections=self._corrections))
        layers = tuple(self._layer(value, twin, own) for value, twin, own in seen)
        outputs = {name: value.name or "" for name, value in zip(names, graph.outputs, strict=True)}
        graph.outputs.extend(self._measured)
        graph.sort()
        return Probe(self._model, layers, outputs)

    def _twin(self, value: Value) -> Value | None:
        """Return the quantized twin of what makes `value`, None where nothing rounds."""
        held, node = self._given.tensors.get(value.name or ""), value.producer()
        carries = node is not None and held is not None and self._carries(node, held)
        if node is not None and value is node.outputs[0] and self._rounds_inputs(node):
            twin = self._copy(node)
        elif held is None or carries:
            return None
        else:
            twin = self._emit("Identity", [value])
        if held is not None and not carries:
            self._tensors[twin.name or ""] = held
        return twin

    def _rounds_inputs(self, node: Node) -> bool:
        """Say whether the node reads constants as integers, or activations otherwise than they are held."""
        if sum(bool(output.name) for output in node.outputs) != 1 or subgraphs_of(node):
            return False
        return any(self._read(node, index) is not None for index in range(len(node.inputs)))

    def _read(self, node: Node, index: int) -> Encoding | None:
        """Return the encoding in which the node's input is rounded for this node alone."""
        value, output = node.inputs[index], node.outputs[0].name or ""
        if value is None or is_parameter(node, index):
            return None
        if is_constant(value):
            return self._given.read_by(output, index, value.name or "")
        return self._given.uses.get(output, {}).get(index)

    def _carries(self, node: Node, held: Encoding) -> bool:
        """Say whether the node only moves numbers that it reads in this encoding already."""
        if not is_op(node, *CARRYING):
            return False
        output = node.outputs[0].name or ""
        return all(self._given.read_by(output, index, value.name or "") == held for index, value in data_inputs(node))

    def _copy(self, node: Node) -> Value:
        """Make a copy of the node that reads in integers what the node is to read so."""
        inputs = list(node.inputs)
        wanted = {index: found for index in range(len(inputs)) if (found := self._read(node, index)) is not None}
        constants = {index: encoding for index, encoding in wanted.items() if is_constant(inputs[index])}
        for index, encoding in wanted.items():
            if index not in constants:
                converted = self._emit("Identity", [inputs[index]])
                self._tensors[converted.name or ""] = encoding
                inputs[index] = converted
        attributes = dict(node.attributes)
        twin = self._edit.emit(
            node.op_type, inputs, attributes, before=self._last, name=node.name or "", domain=node.domain
        )
        self._uses[twin.name or ""] = constants
        corrections = self._given.corrections.get(node.outputs[0].name or "")
        if corrections is not None:
            self._corrections[twin.name or ""] = corrections
        return twin

    def _layer(self, value: Value, twin: Value, own: Value) -> Layer:
        """Measure how far the twin is from the layer, and let the rest of the model read either."""
        readers = [(use.node, use.idx) for use in value.uses() if use.node is not twin.producer()]
        reader = _cutting_reader(value, readers)
        seen = [own, value] if reader is None else [self._through(reader, one) for one in (own, value)]
        signal = self._emit("ReduceSumSquare", [seen[1]], {"keepdims": 0})
        noise = self._emit("ReduceSumSquare", [self._emit("Sub", seen)], {"keepdims": 0})
        self._measured += [signal, noise]
        switch = Value(
            name=self._edit.fresh_name(f"{value.name}/switch"), type=TensorType(DataType.BOOL), shape=Shape(())
        )
        self._model.graph.inputs.append(switch)
        chosen = self._emit("Where", [switch, own, value])
        for node, index in readers:
            node.replace_input_with(index, chosen)
        for index, output in enumerate(self._model.graph.outputs):
            if output is value:
                self._model.graph.outputs[index] = chosen
        maker = value.producer()
        op_type = "" if maker is None else maker.op_type
        return Layer(value.name or "", op_type, signal.name or "", noise.name or "", switch.name or "")

    def _through(self, reader: Node, value: Value) -> Value:
        """Return what the reader makes of `value`."""
        inputs = [value, *reader.inputs[1:]]
        return self._edit.emit(reader.op_type, inputs, dict(reader.attributes), before=self._last, name="probe/seen")

    def _emit(self, op_type: str, inputs: Sequence[Value | None], attributes: dict[str, int] | None = None) -> Value:
        return self._edit.emit(op_type, inputs, attributes, before=self._last, name=f"probe/{op_type}")


def _cutting_reader(value: Value, readers: Sequence[tuple[Node, int]]) -> Node | None:
    """Return the only reader, where it makes the same of all numbers beyond some bound.

    What lies there is left out of encodings on purpose, and is no error of the layer.
    """
    if len(readers) != 1 or value.is_graph_output():
        return None
    node, index = readers[0]
    return node if index == 0 and is_op(node, *CUTTING) else None
