"""What a node looks like when the axes of its data come in another order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, input_at, integers, rank, static_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from npuopt.graph import Node

# fmt: off
ELEMENTWISE = frozenset((
    "Abs", "Add", "And", "Cast", "Ceil", "Cos", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater",
    "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max",
    "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu",
    "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tanh", "Where", "Xor",
))
# fmt: on
"""Ops that compute each element from those at the same place, whatever the order of the axes; all inputs are data."""


@dataclass(frozen=True)
class Form:
    """What changes of a node but its data.

    Attributes:
        attributes: to set.
        constants: input -> its new value.
    """

    attributes: dict[str, int] = field(default_factory=dict[str, int])
    constants: dict[int, np.ndarray] = field(default_factory=dict[int, np.ndarray])


Made = Form | str
"""The node's form, or why it has none."""


def data_inputs(node: Node) -> range:
    """Return the inputs whose axes change order; the others keep theirs. Empty where the op is not covered."""
    if node.op_type in ELEMENTWISE or node.op_type == "Concat":
        return range(len(node.inputs))
    return range(1) if node.op_type in FORMS else range(0)


def form(node: Node, order: Sequence[int]) -> Made:
    """Return what becomes of `node` when its data is transposed by `order`; of rank `len(order)`."""
    make = FORMS.get(node.op_type)
    return Form() if make is None else make(node, order)


def _moved(axis: int, order: Sequence[int]) -> int:
    """Return where an axis of the old order lies in the new one."""
    return list(order).index(axis % len(order))


def _axis(default: int) -> Callable[[Node, Sequence[int]], Made]:
    def make(node: Node, order: Sequence[int]) -> Made:
        return Form({"axis": _moved(attribute(node, "axis", default), order)})

    return make


def _reduce(node: Node, order: Sequence[int]) -> Made:
    if not attribute(node, "keepdims", 1):
        return "it drops the axes that it reduces"
    if input_at(node, 1) is None:
        return Form()
    axes = integers(input_at(node, 1))
    if axes is None:
        return "its axes are computed at run time"
    return Form(constants={1: np.array([_moved(axis, order) for axis in axes], np.int64)} if axes else {})


def _slice(node: Node, order: Sequence[int]) -> Made:
    count = static_shape(input_at(node, 1))
    axes = integers(input_at(node, 3)) if input_at(node, 3) is not None else list(range(count[0])) if count else None
    if axes is None:
        return "its axes are computed at run time"
    return Form(constants={3: np.array([_moved(axis, order) for axis in axes], np.int64)})


def _pad(node: Node, order: Sequence[int]) -> Made:
    pads = integers(input_at(node, 1))
    if pads is None:
        return "its pads are computed at run time"
    if input_at(node, 3) is None:
        halves = np.array(pads, np.int64).reshape(2, -1)[:, list(order)]
        return Form(constants={1: halves.reshape(-1)})
    axes = integers(input_at(node, 3))
    if axes is None:
        return "its axes are computed at run time"
    return Form(constants={3: np.array([_moved(axis, order) for axis in axes], np.int64)})


def _quantize(node: Node, order: Sequence[int]) -> Made:
    if attribute(node, "block_size", 0):
        return "it is quantized in blocks"
    return _axis(1)(node, order) if rank(input_at(node, 1)) == 1 else Form()


def _last_axis(node: Node, order: Sequence[int]) -> Made:
    axis, last = attribute(node, "axis", -1), len(order) - 1
    if axis % len(order) != last or order[last] != last:
        return "it normalizes the last axis, which would move"
    return Form()


def _clip(node: Node, order: Sequence[int]) -> Made:
    del node, order
    return Form()


def _dropout(node: Node, order: Sequence[int]) -> Made:
    del order
    training = input_at(node, 2)
    known = constant(training)
    return Form() if training is None or (known is not None and not known.any()) else "it drops at random"


FORMS: dict[str, Callable[[Node, Sequence[int]], Made]] = {
    "Concat": _axis(0),
    "Split": _axis(0),
    "Softmax": _axis(-1),
    "LogSoftmax": _axis(-1),
    "Hardmax": _axis(-1),
    **dict.fromkeys(
        ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"),
        _reduce,
    ),
    "Slice": _slice,
    "Pad": _pad,
    "Clip": _clip,
    "Dropout": _dropout,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _quantize,
    "LayerNormalization": _last_axis,
    "RMSNormalization": _last_axis,
}
