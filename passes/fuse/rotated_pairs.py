"""How the two numbers of rotated pairs are put side by side, and told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, integers, is_op, producer, rank
from npuopt.passes.fuse.sizes import size_of
from npuopt.passes.fuse.slices import part_of

if TYPE_CHECKING:
    from npuopt.graph import Node, Value

LAST = 3
"""The axis of x that is turned."""


def joined_pair(value: Value | None) -> tuple[Value, Value, bool, tuple[Node, ...]] | None:
    """Return two values that are put side by side along the last axis: whole, or number by number (interleaved)."""
    node = producer(value, "Concat", "Reshape")
    if node is None:
        return None
    interleaved = is_op(node, "Reshape")
    joined = producer(node.inputs[0], "Concat") if interleaved else node
    depth = rank(joined.outputs[0]) if joined is not None else None
    if joined is None or depth is None or len(joined.inputs) != 2 or attribute(joined, "axis", 0) % depth != depth - 1:
        return None
    first, second = joined.inputs
    if not interleaved:
        return None if first is None or second is None else (first, second, False, (node,))
    lifted = [producer(item, "Unsqueeze") for item in (first, second)]
    made = [item for item in lifted if item is not None and integers(input_at(item, 1)) in ([-1], [depth - 1])]
    inner = [item.inputs[0] for item in made if item.inputs[0] is not None]
    if len(inner) != 2 or not _flattens_pairs(node, inner[0]):
        return None
    return inner[0], inner[1], True, (node, joined, *made)


def _flattens_pairs(node: Node, half: Value) -> bool:
    """Say whether the Reshape `node` joins the last axis of `half` with the axis of pairs behind it."""
    size = size_of(half, -1) if rank(half) == rank(node.outputs[0]) == LAST + 1 else None
    whole = [size_of(node.outputs[0], axis) for axis in range(4)] if size is not None else []
    same = [whole[axis] == size_of(half, axis) for axis in range(3)] if whole else []
    return isinstance(size, int) and whole[LAST] == 2 * size and sum(same) >= 2


def split_pair(first: Value, second: Value, *, interleaved: bool) -> Value | None:
    """Return the value whose last axis has these as its halves, or as its even and odd places."""
    one, other = part_of(first, LAST), part_of(second, LAST)
    size = size_of(one.source, LAST) if one is not None and rank(one.source) == LAST + 1 else None
    if one is None or other is None or one.source is not other.source or not isinstance(size, int) or size % 2:
        return None
    every = range(size)
    wanted = (every[::2], every[1::2]) if interleaved else (every[: size // 2], every[size // 2 :])
    return one.source if size and (one.places, other.places) == wanted else None
