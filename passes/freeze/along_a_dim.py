"""What an op does along a named dim: whether places beyond a sequence's end can reach those within it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import attribute, dims, input_at, integers, is_op, producer, rank, subgraphs_of
from npuopt.passes.layout.forms import ELEMENTWISE

if TYPE_CHECKING:
    from collections.abc import Callable

    from npuopt.graph import Node, Value

BY_PLACE = (
    *ELEMENTWISE,
    *("CastLike", "Clip", "Dropout", "Expand", "Shape", "Squeeze", "Transpose", "Trilu", "Unsqueeze"),
)
"""Ops that compute each place from the same place, or only look at sizes."""

SOFTMAX = ("Softmax", "LogSoftmax")


def mixes(node: Node, dim: str) -> str:
    """Say how `node` would let padding along `dim` change other places, or return an empty string where it does not.

    Softmax along `dim` is none of these: a mask keeps it from looking at padding.
    """
    if not any(axes_of(value, dim) for value in node.inputs):
        return ""
    if subgraphs_of(node):
        return f"it is control flow that reads along {dim}"
    if is_op(node, *BY_PLACE, *SOFTMAX):
        return ""
    rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    return f"nobody says what it does along {dim}" if rule is None else rule(node, dim)


def axes_of(value: Value | None, dim: str) -> list[int]:
    """Return the axes of a value that are called `dim`."""
    return [axis for axis, name in enumerate(dims(value) or ()) if name == dim]


def softmax_axis(node: Node) -> int:
    """Return the axis, counted from the front, that a Softmax is along."""
    return attribute(node, "axis", -1) % (rank(node.inputs[0]) or 1)


def _matmul(node: Node, dim: str) -> str:
    left, right = (dims(value) or () for value in node.inputs[:2])
    summed = [left[-1:], right[-2:-1] if len(right) > 1 else right]
    if (dim,) not in summed:
        return ""
    weights = node.inputs[0]
    while (maker := producer(weights, "Cast", "Dropout", "Identity")) is not None:
        weights = maker.inputs[0]
    maker = producer(weights, *SOFTMAX[:1])
    masked = maker is not None and softmax_axis(maker) == len(left) - 1
    return "" if masked else f"it sums over {dim}, and no Softmax leaves the padding out"


def _keeps_it(node: Node, dim: str) -> str:
    before, after = axes_of(node.inputs[0], dim), axes_of(node.outputs[0], dim)
    return "" if len(before) == len(after) else f"it may merge {dim} with another axis"


def _reduction(node: Node, dim: str) -> str:
    taken = integers(input_at(node, 1)) if input_at(node, 1) is not None else list(range(rank(node.inputs[0]) or 0))
    count = rank(node.inputs[0]) or 1
    if taken is None or {axis % count for axis in taken} & set(axes_of(node.inputs[0], dim)):
        return f"it reduces {dim}, padding included"
    return ""


def _axis(default: int) -> Callable[[Node, str], str]:
    def check(node: Node, dim: str) -> str:
        count = rank(node.inputs[0]) or 1
        own = attribute(node, "axis", default) % count
        return f"its axis is {dim}" if any(own in axes_of(value, dim) for value in node.inputs) else ""

    return check


def _gather(node: Node, dim: str) -> str:
    own = attribute(node, "axis", 0) % (rank(node.inputs[0]) or 1)
    return f"it picks places along {dim}" if own in axes_of(node.inputs[0], dim) else ""


def _slice(node: Node, dim: str) -> str:
    axes = integers(input_at(node, 3))
    count = rank(node.inputs[0]) or 1
    if axes is None or {axis % count for axis in axes} & set(axes_of(node.inputs[0], dim)):
        return f"it picks places along {dim}"
    return ""


def _normalization(node: Node, dim: str) -> str:
    first = attribute(node, "axis", -1) % (rank(node.inputs[0]) or 1)
    return f"it normalizes {dim}" if any(axis >= first for axis in axes_of(node.inputs[0], dim)) else ""


RULES: dict[str, Callable[[Node, str], str]] = {
    "MatMul": _matmul,
    "Reshape": _keeps_it,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _axis(0),
    "Split": _axis(0),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _normalization),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2"), _reduction),
}
