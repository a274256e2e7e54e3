"""What the fusions share that read which places of an axis a value is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from npuopt.graph import attribute, dims, input_at, integers, producer, rank

if TYPE_CHECKING:
    from npuopt.graph import Node, Value

Bounds = tuple[int, int, int]
"""Start, end and step of one axis, as the op reads them."""


@dataclass(frozen=True)
class Part:
    """A value that is some places of one axis of another.

    Attributes:
        source: the other value.
        places: which, counted from 0.
    """

    source: Value
    places: range


def slice_bounds(node: Node, depth: int) -> dict[int, Bounds] | None:
    """Return what the Slice `node` keeps of each axis it slices, or None where that is given at run time."""
    starts, ends = integers(input_at(node, 1)), integers(input_at(node, 2))
    if starts is None or ends is None:
        return None
    count = len(starts)
    axes = list(range(count)) if input_at(node, 3) is None else integers(input_at(node, 3))
    steps = [1] * count if input_at(node, 4) is None else integers(input_at(node, 4))
    if axes is None or steps is None:
        return None
    places = [axis % depth for axis in axes]
    return dict(zip(places, zip(starts, ends, steps, strict=True), strict=True))


def places(every: range, bounds: Bounds) -> range:
    """Return the places that a slice keeps of `every`; negative bounds count from the end, others are clamped."""
    start, end, step = bounds
    length = len(every)
    if step < 0 and end < -length:
        return every[slice(start, None, step)]  # before the first place
    return every[slice(start, end, step)]


def part_of(value: Value, axis: int) -> Part | None:
    """Return which places of `axis` (counted from the front) a Slice or a Split makes `value` of, all else kept."""
    node = producer(value, "Slice", "Split")
    source = input_at(node, 0) if node is not None else None
    shape = dims(source)
    if node is None or source is None or shape is None or axis >= len(shape):
        return None
    length = shape[axis]
    if not isinstance(length, int):
        return None
    if node.op_type == "Slice":
        bounds = slice_bounds(node, len(shape))
        return None if bounds is None or set(bounds) != {axis} else Part(source, places(range(length), bounds[axis]))
    sizes = split_sizes(node)
    if sizes is None or attribute(node, "axis", 0) % len(shape) != axis:
        return None
    ends = pairwise(accumulate(sizes, initial=0))
    return next(
        (Part(source, range(*end)) for end, made in zip(ends, node.outputs, strict=True) if made is value), None
    )


def split_sizes(node: Node) -> list[int] | None:
    """Return the lengths of the parts that the Split `node` makes, where they are known."""
    axis, depth = attribute(node, "axis", 0), rank(input_at(node, 0))
    if depth is None:
        return None
    shapes = [dims(value) for value in node.outputs]
    sizes = [shape[axis % depth] for shape in shapes if shape is not None and len(shape) == depth]
    numbers = [size for size in sizes if isinstance(size, int)]
    return numbers if len(numbers) == len(node.outputs) else None
