"""Between which numbers the integers of a value lie, as far as the nodes that make it say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, element_type, input_at, producer, static_shape

if TYPE_CHECKING:
    from npuopt.graph import Node, Value

Range = tuple[int, int]
"""The least and the largest number."""

DEPTH = 24
"""Nodes in a row that are asked; a longer chain proves nothing."""
PASSING = frozenset(
    {"Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "ReduceMax", "ReduceMin", "Reshape"}
    | {"Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)
"""Ops whose results are elements of their first input."""
JOINING = {"Concat": 0, "Max": 0, "Min": 0, "Where": 1}
"""Ops whose results are elements of their inputs, from this one on."""


def integer_range(value: Value | None, depth: int = DEPTH) -> Range | None:
    """Return the range of an integer value, or None where nothing is known."""
    kind = element_type(value)
    if value is None or kind is None or not (kind.is_integer() or kind.name == "BOOL"):
        return None
    known = constant(value)
    if known is not None:
        return (int(known.min()), int(known.max())) if known.size else (0, 0)
    maker = producer(value)
    found = _made(maker, value, depth - 1) if maker is not None and depth else None
    limits = np.iinfo(kind.numpy()) if kind.name != "BOOL" else None
    least, most = (0, 1) if limits is None else (int(limits.min), int(limits.max))
    if found is not None and least <= found[0] and found[1] <= most:
        return found  # nothing has wrapped around
    return None if kind.name in ("INT64", "UINT64") else (least, most)


def _made(node: Node, value: Value, depth: int) -> Range | None:
    """Return the range of what `node` makes."""

    def of(index: int) -> Range | None:
        return integer_range(input_at(node, index), depth)

    op = node.op_type
    if op in PASSING or op == "Cast":
        return of(0)
    if op in JOINING:
        return _union([of(index) for index in range(JOINING[op], len(node.inputs))])
    if op in ("ArgMax", "ArgMin", "TopK"):
        return _place(node, value)
    if op == "Shape":
        shape = static_shape(input_at(node, 0))
        return None if shape is None else (0, max(shape, default=0))
    left = of(0)
    if left is None:
        return None
    if op == "Neg":
        return -left[1], -left[0]
    if op == "Abs":
        return 0, max(abs(left[0]), abs(left[1]))
    right = of(1)
    return None if right is None else _combined(node, left, right)


def _combined(node: Node, left: Range, right: Range) -> Range | None:
    match node.op_type:
        case "Add":
            return left[0] + right[0], left[1] + right[1]
        case "Sub":
            return left[0] - right[1], left[1] - right[0]
        case "Mul":
            ends = [one * two for one in left for two in right]
            return min(ends), max(ends)
        case "Mod" if right[0] > 0 and not attribute(node, "fmod", 0):
            return 0, right[1] - 1
        case _:
            return None


def _union(ranges: list[Range | None]) -> Range | None:
    known = [item for item in ranges if item is not None]
    if not known or len(known) < len(ranges):
        return None
    return min(item[0] for item in known), max(item[1] for item in known)


def _place(node: Node, value: Value) -> Range | None:
    """Return the range of positions along an axis; of TopK's values nothing is known."""
    shape = static_shape(input_at(node, 0))
    if shape is None or (node.op_type == "TopK" and value is not node.outputs[1]) or 0 in shape:
        return None
    default = -1 if node.op_type == "TopK" else 0
    return 0, shape[attribute(node, "axis", default)] - 1


def fits(found: Range | None, bits: int) -> bool:
    """Say whether a range is known and within the signed integers of so many bits."""
    return found is not None and -math.ldexp(1, bits - 1) <= found[0] and found[1] < math.ldexp(1, bits - 1)
