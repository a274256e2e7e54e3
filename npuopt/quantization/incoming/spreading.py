"""Encodings that follow from others without data: what only moves numbers, or limits them, keeps their encoding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np

from npuopt.graph import has_one_use, is_constant, is_op, origins
from npuopt.quantization.arithmetic import STORAGE, affine, limits
from npuopt.quantization.assignment.needs import BOUNDED
from npuopt.quantization.encodings import Encoding, per_tensor
from npuopt.quantization.incoming.quantized_model import bits_of
from npuopt.quantization.roles import data_inputs, is_float

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.incoming.quantized_model import Incoming
    from npuopt.target import Target

CHOOSES = (
    *("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "Identity", "MaxPool", "Reshape"),
    *("Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
)
"""Ops whose output holds numbers of their inputs and no others: rounding before them is rounding behind them."""

LIMITS = ("Clip", "Relu")
"""Ops that a saturating encoding of their output computes on the way in."""


@dataclass
class Known:
    """The encodings of a graph's activations, as far as they are known.

    Attributes:
        own: how a tensor is seen by all its readers.
        uses: how single readers see a tensor.
        by_rule: tensors that had none of their own.
    """

    own: dict[Value, Encoding] = field(default_factory=dict["Value", Encoding])
    uses: dict[tuple[Node, int], Encoding] = field(default_factory=dict["tuple[Node, int]", Encoding])
    by_rule: set[Value] = field(default_factory=set["Value"])

    def read(self, node: Node, index: int, value: Value) -> Encoding | None:
        """Return how a node sees what it reads at `index`."""
        return self.uses.get((node, index)) or self.own.get(value)


def followed(model: Model, incoming: Incoming) -> Known:
    """Find what is known of each value by the tensors of the source model that it still is."""
    known = Known()
    made = [output for node in model.graph for output in node.outputs]
    for value in (*model.graph.inputs, *made):
        encoding = own_encoding(value, incoming)
        if encoding is not None and encoding.axis is None:
            known.own[value] = encoding
    for node in model.graph:
        noted = [by for origin in origins(node.outputs[0]) if (by := incoming.uses.get(origin.name))]
        for index, value in data_inputs(node) if noted else ():
            for name, factor in origins(value):
                encoding = next((by[name] for by in noted if name in by), None)
                if encoding is not None and encoding.axis is None:
                    known.uses.setdefault((node, index), scaled(encoding, factor))
    return known


def own_encoding(value: Value, incoming: Incoming) -> Encoding | None:
    """Return the encoding that the source model has for a value of the graph."""
    for name, factor in origins(value):
        if name in incoming.tensors:
            return scaled(incoming.tensors[name], factor)
    return None


def scaled(encoding: Encoding, factor: float) -> Encoding:
    """Return the encoding of a tensor's numbers times `factor`: the same integers, mirrored where it is negative."""
    if factor == 1.0:
        return encoding
    zero_point = encoding.zero_point
    if factor < 0 and any(point != _middle(encoding.dtype) for point in zero_point):
        smallest, largest = limits(encoding.dtype)
        zero_point = tuple(smallest + largest - point for point in zero_point)
    scales = tuple(float(np.float32(scale * abs(factor))) for scale in encoding.scale)
    return encoding.model_copy(update={"scale": scales, "zero_point": zero_point})


def spread(model: Model, target: Target, known: Known) -> None:
    """Add what follows from the known encodings until nothing more does."""
    nodes = list(model.graph)
    while True:
        before = len(known.own)
        for node in nodes:
            _forward(node, target, known)
        for node in reversed(nodes):
            _backward(node, known)
        if len(known.own) == before:
            return


def _forward(node: Node, target: Target, known: Known) -> None:
    """Give a node's outputs the encoding that all its inputs have, or that its op bounds them to."""
    unknown = [value for value in node.outputs if is_float(value) and value not in known.own]
    data = [(index, value) for index, value in data_inputs(node) if not is_constant(value)]
    seen = [known.read(node, index, value) for index, value in data]
    if not unknown or not data or None in seen:
        return
    first = cast("Encoding", seen[0])
    rule = target.rule(node.op_type, node.domain)
    if is_op(node, *CHOOSES, *LIMITS) or (rule is not None and rule.quantization.share):
        if all(one == first for one in seen):
            _learn(known, unknown, first)
    elif is_op(node, *BOUNDED):
        _learn(known, unknown, _bounded(node, first.dtype))


def _bounded(node: Node, dtype: IntegerType) -> Encoding:
    return per_tensor(dtype, *affine(*BOUNDED[node.op_type], dtype))


def _backward(node: Node, known: Known) -> None:
    """Give what only this node reads the encoding of its output, where rounding may as well come first."""
    encoding = known.own.get(node.outputs[0]) if node.outputs else None
    if encoding is None or not is_op(node, *CHOOSES, *LIMITS) or len(node.outputs) > 1:
        return
    for index, value in data_inputs(node):
        free = value not in known.own and (node, index) not in known.uses and has_one_use(value)
        if free and not is_constant(value):
            _learn(known, [value], encoding)


def _learn(known: Known, values: list[Value], encoding: Encoding) -> None:
    for value in values:
        known.own[value] = encoding
        known.by_rule.add(value)


def recast(encoding: Encoding, dtype: IntegerType) -> Encoding | None:
    """Return an encoding in `dtype` with the same steps, which holds all that `encoding` does; None in fewer bits."""
    if encoding.dtype == dtype:
        return encoding
    shift = _middle(dtype) - _middle(encoding.dtype)
    wider = limits(dtype)[1] - limits(dtype)[0] >= limits(encoding.dtype)[1] - limits(encoding.dtype)[0]
    if not wider or bits_of(encoding) > 16:
        return None
    zero_point = tuple(point + shift for point in encoding.zero_point)
    return encoding.model_copy(update={"dtype": dtype, "zero_point": zero_point})


def recast_integers(integers: np.ndarray, before: Encoding, after: Encoding) -> np.ndarray:
    """Return the integers of a constant in the type that its encoding was recast to."""
    shift = _middle(after.dtype) - _middle(before.dtype)
    return (integers.astype(np.int64) + shift).astype(STORAGE[after.dtype])


def _middle(dtype: IntegerType) -> int:
    smallest, largest = limits(dtype)
    return (smallest + largest + 1) // 2
