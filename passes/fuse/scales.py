"""How a product with one constant number is read, which several fusions do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from npuopt.graph import DataType, is_constant, is_op, rank, scalar

if TYPE_CHECKING:
    from npuopt.graph import Node, Value

WIDE_RANGE = (DataType.FLOAT, DataType.DOUBLE)
"""Element types in which a factor or its parts do not run out of exponent."""
LIMITS = (2.0**-60, 2.0**60)
"""Factors between which a product of two of them, and of moderate numbers, keeps its exponent."""


def read_scale(node: Node | None) -> tuple[Value, float] | None:
    """Return what a Mul or a Div multiplies by one constant number, and the number (infinity for a division by 0)."""
    if node is None or not is_op(node, "Mul", "Div"):
        return None
    left, right = node.inputs
    for value, other in [(left, right), (right, left)] if is_op(node, "Mul") else [(left, right)]:
        number = scalar(other)
        if number is not None and value is not None and not is_constant(value):
            return value, number if is_op(node, "Mul") else 1 / number if number else math.inf
    return None


def raises_rank(node: Node, value: Value) -> bool:
    """Say whether `node` gives `value` more axes, or may."""
    return rank(value) is None or rank(value) != rank(node.outputs[0])
