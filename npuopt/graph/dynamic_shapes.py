"""Finds tensors whose shape is not known before run time, and why it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph.queries import (
    STANDARD_DOMAINS,
    input_at,
    is_constant,
    is_op,
    label,
    nodes,
    producer,
    static_shape,
    subgraphs_of,
)

if TYPE_CHECKING:
    import onnx_ir as ir

SIZED_BY_DATA = ("NonZero", "Unique", "Compress", "NonMaxSuppression", "StringSplit")

LAYERS = (
    *("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv"),
    *("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "MatMulNBits", "Einsum"),
    *("LSTM", "GRU", "RNN", "Attention"),
)
"""What a network has its multiplications in."""

WAYS_OUT = {
    "NonZero": "export the selection as a mask: Where or Mul with a boolean of fixed size does what indexing by it did",
    "Compress": "export the selection as a mask: Where or Mul with a boolean of fixed size",
    "NonMaxSuppression": "cut the model before it (npuopt extract --to) and choose the boxes on the host",
    "Unique": "cut the model before it (npuopt extract --to) and do the rest on the host",
    "If": "give the value that it decides by as a constant, or export the branch that is taken",
    "Loop": "export it with a constant number of rounds; fold-loops{most_rounds=N} then writes them out",
}
"""Op type -> what to do about a size that depends on data."""

SHAPING_INPUTS: dict[str, dict[int, str]] = {
    "Reshape": {1: "shape"},
    "Expand": {1: "shape"},
    "Tile": {1: "repeats"},
    "Pad": {1: "pads"},
    "Slice": {1: "starts", 2: "ends", 3: "axes", 4: "steps"},
    "Resize": {2: "scales", 3: "sizes"},
    "ConstantOfShape": {0: "shape"},
    "Range": {0: "start", 1: "limit", 2: "delta"},
    "TopK": {1: "k"},
    "OneHot": {1: "depth"},
    "Split": {1: "split"},
    "Squeeze": {1: "axes"},
    "Unsqueeze": {1: "axes"},
    "CenterCropPad": {1: "shape"},
    "AffineGrid": {1: "size"},
}
"""Op type -> the inputs whose values, not only shapes, decide the output's shape."""


@dataclass(frozen=True)
class Dynamic:
    """A value of unknown shape, the node that makes it, and one sentence why, without its full stop."""

    value: ir.Value
    node: ir.Node
    why: str

    @property
    def way_out(self) -> str:
        """Say what can be done about it."""
        known = WAYS_OUT.get(self.node.op_type)
        if known is not None:
            return known
        if any(op_type in self.why for op_type in SIZED_BY_DATA):
            found = next(op_type for op_type in SIZED_BY_DATA if op_type in self.why)
            return WAYS_OUT.get(found, WAYS_OUT["Unique"])
        if "from input" in self.why:
            return "make that input a constant of the model: what decides a shape cannot be given at run time"
        return f"cut the model before it (npuopt extract --to), or replace {self.node.op_type} by an op of a fixed size"


def first_blocking(model: ir.Model) -> Dynamic | None:
    """Return the first value in graph order whose unknown shape keeps a model off a device of static shapes, or None.

    What data sizes (the boxes that NonMaxSuppression keeps), and what is computed of that, a host can compute behind
    a device, as long as none of it is the network itself: a layer with weights, a loop or a branch.

    Graph inputs are not looked at: their free dims are the caller's to give.
    """
    found: dict[ir.Value, ir.Node] = {}  # value -> the node whose findings it is computed from
    for node in nodes(model):
        origins = [found[value] for value in node.inputs if value is not None and value in found]
        origin = node if is_op(node, *SIZED_BY_DATA) else next(iter(origins), None)
        if origin is not None:
            found.update(dict.fromkeys(node.outputs, origin))
        for value in node.outputs:
            if value.name and static_shape(value) is None:
                if origin is None:
                    return Dynamic(value, node, _why(node))
                if _reads_weights(node) or any(subgraphs_of(node)):
                    return Dynamic(
                        origin.outputs[0], origin, f"{_why(origin)}, and layer {label(node)} computes with it"
                    )
    return None


def _reads_weights(node: ir.Node) -> bool:
    """Say whether the node is a layer with weights, in floats or in integers."""
    if node.op_type not in LAYERS:
        return False
    read = (value for value in node.inputs if value is not None)
    return any(is_constant(_source(value)) for value in read)


def _source(value: ir.Value) -> ir.Value:
    """Return the integers that a value was dequantized from, or the value."""
    source = producer(value, "DequantizeLinear")
    return value if source is None else source.inputs[0] or value


def _why(node: ir.Node) -> str:
    if node.domain not in STANDARD_DOMAINS:
        return f"no shape inference knows {node.domain}.{node.op_type}"
    if is_op(node, *SIZED_BY_DATA):
        return f"how much {node.op_type} finds depends on the data"
    for index, role in SHAPING_INPUTS.get(node.op_type, {}).items():
        value = input_at(node, index)
        if value is not None and not is_constant(value):
            return f"the {role} of {node.op_type} is computed at run time{_origin(value)}"
    if is_op(node, "If"):
        return "the branches of If make different shapes"
    if subgraphs_of(node):
        return f"how often {node.op_type} runs its body depends on the data"
    return f"no shape inference tells what {node.op_type} makes"


def _origin(value: ir.Value) -> str:
    """Say which graph input, or which op that is sized by data, a value was computed from."""
    pending, seen = [value], {value}
    while pending:
        current = pending.pop()
        maker = current.producer()
        if maker is None:
            if current.is_graph_input() and not current.is_initializer():
                return f" from input {current.name!r}"
            if current.is_initializer() and current.is_graph_input():
                return f" from input {current.name!r}, whose default callers may override"
            continue
        if is_op(maker, *SIZED_BY_DATA):
            return f" from what {maker.op_type} finds"
        sources = [source for source in maker.inputs if source is not None and source not in seen]
        seen.update(sources)
        pending += sources
    return ""
