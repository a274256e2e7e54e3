"""The nodes between the product of queries and keys and its softmax: what scales them and what masks them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from npuopt.graph import (
    is_constant,
    is_op,
    producer,
    scalar,
)
from npuopt.passes.fuse.attention_mask import Mask
from npuopt.passes.fuse.scales import raises_rank, read_scale

if TYPE_CHECKING:
    from npuopt.graph import Node, Value

STEPS = 8
"""Nodes that are followed from a sum to the product that is one of its sides."""


def scaled(node: Node | None) -> tuple[Value, float] | None:
    """Return what `node` multiplies by one constant number, and the number."""
    found = read_scale(node)
    if node is None or found is None or raises_rank(node, found[0]) or not math.isfinite(found[1]):
        return None
    return found


def masked(node: Node) -> tuple[Value, Mask] | None:
    """Return the scores that `node` masks, and the mask."""
    if is_op(node, "Where"):
        condition, shown, hidden = node.inputs
        for value, other, keeps in ((shown, hidden, True), (hidden, shown, False)):
            fill = scalar(other)
            if value is not None and fill is not None and not is_constant(value):
                return value, Mask(shown=condition, keeps=keeps, fill=fill)
        return None
    if not is_op(node, "Add", "Sum") or len(node.inputs) != 2:
        return None
    left, right = node.inputs
    for value, other in ((left, right), (right, left)):
        if value is not None and _leads_to_product(value):
            return value, Mask(value=other)
    return None


def _leads_to_product(value: Value | None) -> bool:
    for _ in range(STEPS):
        node = producer(value)
        if node is None or is_op(node, "MatMul"):
            return node is not None
        if is_op(node, "Tanh"):
            value = node.inputs[0]
        elif (split := scaled(node)) is not None:
            value = split[0]
        elif is_op(node, "Where"):
            value = node.inputs[1] if scalar(node.inputs[1]) is None else node.inputs[2]
        elif is_op(node, "Add", "Sum"):
            return any(_leads_to_product(side) for side in node.inputs)
        else:
            return False
    return False
