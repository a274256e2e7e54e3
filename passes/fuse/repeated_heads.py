"""How heads of keys and values are read off the graph that are repeated for groups of queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, integers, is_op, producer, rank
from npuopt.passes.fuse.sizes import size_of

if TYPE_CHECKING:
    from npuopt.graph import Node, Value


def single_heads(value: Value) -> Value | None:
    """Return the heads that `value` repeats, each for a group of queries next to each other; any order of axes 2, 3.

    Known by: `Reshape(Expand(h))` and `Reshape(Tile(h))` over an axis of length 1 behind the heads, an Expand or
    Tile of a single head, a Gather of heads by constant indices.
    """
    heads = size_of(value, 1)
    if not isinstance(heads, int) or rank(value) != 4:
        return None
    if (gathered := producer(value, "Gather")) is not None:
        return _gathered_heads(gathered, heads)
    joined = producer(value, "Reshape")
    repeated = producer(input_at(joined, 0) if joined is not None else value, "Expand", "Tile")
    source = input_at(repeated, 0) if repeated is not None else None
    if repeated is None or source is None or rank(source) != (4 if joined is None else 5):
        return None
    axis = 1 if joined is None else 2
    if size_of(source, axis) != 1 or not _repeats_only(repeated, axis):
        return None
    if joined is None:
        return source
    single = size_of(source, 1)
    if not isinstance(single, int) or heads % single or size_of(source, 4) != size_of(value, 3):
        return None
    if 1 in (size_of(source, 0), size_of(value, 0)) and size_of(source, 0) != size_of(value, 0):
        return None
    return _without_axis(source)


def _gathered_heads(node: Node, heads: int) -> Value | None:
    source, indices = input_at(node, 0), integers(input_at(node, 1))
    if source is None or indices is None or attribute(node, "axis", 0) not in (1, -3):
        return None
    single = size_of(source, 1)
    if not isinstance(single, int) or heads % single or heads == single:
        return None
    return source if indices == [index // (heads // single) for index in range(heads)] else None


def _repeats_only(node: Node, axis: int) -> bool:
    """Say whether `node` repeats along `axis`; an Expand of others could only be from length 1, which shows."""
    if is_op(node, "Tile"):
        repeats = integers(input_at(node, 1))
        return repeats is not None and all(count == 1 or place == axis for place, count in enumerate(repeats))
    depth = rank(node.outputs[0])
    return depth is not None and depth == rank(node.inputs[0])


def _without_axis(source: Value) -> Value | None:
    """Return what was given the axis of length 1 at place 2, if that is how `source` was made."""
    maker = producer(source, "Unsqueeze", "Reshape")
    value = input_at(maker, 0) if maker is not None else None
    if maker is None or value is None or rank(value) != 4:
        return None
    if is_op(maker, "Unsqueeze"):
        return value if integers(input_at(maker, 1)) in ([2], [-3]) else None
    kept = [size_of(source, axis) for axis in (0, 1, 3, 4)]
    return value if kept == [size_of(value, axis) for axis in range(4)] and None not in kept else None
