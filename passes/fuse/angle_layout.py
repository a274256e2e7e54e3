"""Which axes of what is turned the sines and cosines of rotary positions run along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import dims, input_at, integers, producer, rank
from npuopt.passes.fuse.sizes import may_broadcast, size_of, size_vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from npuopt.graph import Builder, Value

    Cut = Callable[[Builder], Value | None]


def layout_of(angles: Value, x: Value) -> int | None:
    """Return which axis of x, 1 or 2, is that of the heads, along which angles are the same; None where none is."""
    given, shape = dims(angles), dims(x)
    if given is None or shape is None or len(given) > 4 or len(shape) != 4:
        return None
    aligned = (*[1] * (4 - len(given)), *given)
    if any(mine != 1 and may_broadcast(mine, its) for mine, its in zip(aligned[:3], shape, strict=False)):
        return None
    if aligned[1] == 1 and (aligned[2] != 1 or shape[2] == 1):
        return 1
    return 2 if aligned[2] == 1 else None


def by_position(angles: Value, x: Value, heads: int, build: Builder) -> Value:
    """Return angles as [batch, sequence, pairs], with the batch and the sequence of x.

    Args:
        angles: one number for each pair, of a rank up to 4.
        x: what is turned, of rank 4.
        heads: the axis of x that is the heads', as `layout_of` says.
        build: where to.
    """
    depth = rank(angles) or 0
    axis = heads - (4 - depth)
    if axis >= 0:
        maker = producer(angles, "Unsqueeze")
        source = input_at(maker, 0) if maker is not None and integers(input_at(maker, 1)) == [axis] else None
        angles, depth = source or build("Squeeze", angles, build.integers(axis)), depth - 1
    if depth < 3:
        angles = build("Unsqueeze", angles, build.integers(*range(3 - depth)))
    places = [(0, 0), (1, 3 - heads)]
    equal = [size_of(angles, mine) == size_of(x, its) for mine, its in places]
    loose = equal[0] and size_of(angles, 1) != 1
    if all(equal) or loose:
        return angles
    return build("Expand", angles, size_vector([*((x, its) for _, its in places), 1], build))
