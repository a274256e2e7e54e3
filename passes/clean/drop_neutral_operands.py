"""Arithmetic and logic with an operand that changes nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from npuopt.graph import constant, dims, element_type, is_op, users
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target

NEUTRAL: dict[str, tuple[float | None, float]] = {
    "Add": (0, 0),
    "Mul": (1, 1),
    "And": (1, 1),
    "Or": (0, 0),
    "Xor": (0, 0),
    "Max": (-math.inf, -math.inf),
    "Min": (math.inf, math.inf),
    "Sub": (None, 0),
    "Div": (None, 1),
    "Pow": (None, 1),
}
"""Op type -> the neutral left operand (None: there is none) and the neutral right operand."""

BLIND_TO_ZERO_SIGN = (
    *("Softmax", "LogSoftmax", "Exp", "Sigmoid", "Softplus", "Abs", "Cos", "Cosh"),
    *("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"),
)
"""Ops that give the same result for -0.0 as for 0.0."""


@dataclass(frozen=True)
class DropNeutralOperands(NodePass):
    """Arithmetic with an operand that changes nothing is dropped.

    y = Add(x, 0), y = Sub(x, 0), y = Mul(x, 1), y = Div(x, 1), y = Pow(x, 1) -> x
    y = Max(x, -inf), y = Min(x, inf) -> x
    y = And(x, true), y = Or(x, false), y = Xor(x, false), y = Where(true, x, z) -> x

    Left alone: operands that are not known at compile time or broadcast x to another shape; adding 0.0 to floats
    whose zeros' signs can be seen, for -0.0 + 0.0 is 0.0; a node between a graph input and a graph output.
    """

    name: ClassVar[str] = "drop-neutral-operands"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    op_types: ClassVar[tuple[str, ...]] = (*NEUTRAL, "Where")

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Let the readers of the output read the operand that matters."""
        del target
        kept = _chosen(node) if node.op_type == "Where" else _beside_neutral(node)
        if kept is None:
            return None
        output = node.outputs[0]
        if dims(kept) is None or None in (dims(kept) or ()) or dims(kept) != dims(output):
            return Declined(f"it broadcasts {dims(kept)} to {dims(output)}")
        if _adds_positive_zero(node, kept) and not _sign_is_unseen(output):
            return Declined("-0.0 + 0.0 is 0.0, and the sign can be seen")
        if element_type(kept) != element_type(output):
            return Declined(f"{element_type(kept)} becomes {element_type(output)}")
        maker = kept.producer()
        if output.is_graph_output() and (maker is None or maker.graph is not node.graph or kept.is_graph_output()):
            return Declined(f"{output.name} is a graph output, and {kept.name} cannot be it too")
        edit.replace(output, kept)
        edit.erase(node)
        return Changed("its other operand changes nothing")


def _chosen(node: Node) -> Value | None:
    """Return the branch that a Where with a constant, one-sided condition takes."""
    condition = constant(node.inputs[0])
    if condition is None or not condition.size:
        return None
    if condition.all():
        return node.inputs[1]
    return node.inputs[2] if not condition.any() else None


def _beside_neutral(node: Node) -> Value | None:
    if len(node.inputs) != 2:  # of the many that Max and Min may have
        return None
    left, right = node.inputs[0], node.inputs[1]
    neutral_left, neutral_right = NEUTRAL[node.op_type]
    if _is_all(right, neutral_right):
        return left
    return right if neutral_left is not None and _is_all(left, neutral_left) else None


def _is_all(value: Value | None, number: float) -> bool:
    array = constant(value)
    if array is None or array.size == 0 or array.dtype.kind not in "biufV":
        return False
    flat = array.reshape(-1)
    return bool(flat[0] == number) and bool(np.all(flat == number))


def _adds_positive_zero(node: Node, kept: Value) -> bool:
    """Say whether -0.0 in `kept` would come out as 0.0."""
    if node.op_type not in ("Add", "Sub"):
        return False
    other = node.inputs[1] if kept is node.inputs[0] else node.inputs[0]
    zeros = constant(other)
    if zeros is None or zeros.dtype.kind not in "fV":
        return False
    negative = np.signbit(zeros.astype(np.float32))
    return not bool(negative.all() if node.op_type == "Add" else not negative.any())


def _sign_is_unseen(value: Value) -> bool:
    return not value.is_graph_output() and all(is_op(user, *BLIND_TO_ZERO_SIGN) for user in users(value))
