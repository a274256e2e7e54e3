"""What the fusions share that need a size which may only be known at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import dims

if TYPE_CHECKING:
    from npuopt.graph import Builder, Value

Dim = int | str | None


def size_of(value: Value, axis: int) -> Dim:
    """Return one dim of a value of known rank; None where nothing is known of it."""
    return (dims(value) or ())[axis]


def size_vector(sizes: list[tuple[Value, int] | int], build: Builder) -> Value:
    """Return an int64 vector of sizes: a constant as far as they are known, else computed from shapes.

    Args:
        sizes: numbers, or a value and the axis of it that is meant.
        build: where to.
    """
    known = [item if isinstance(item, int) else size_of(*item) for item in sizes]
    numbers = [size for size in known if isinstance(size, int)]
    if len(numbers) == len(sizes):
        return build.integers(*numbers)
    parts = [build.integers(item) if isinstance(item, int) else _measured(*item, build) for item in sizes]
    return build("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]


def may_broadcast(one: Dim, other: Dim) -> bool:
    """Say whether two dims of operands are numbers that differ, or one is 1 and the other not known to be."""
    return one != other and (1 in (one, other) or (isinstance(one, int) and isinstance(other, int)))


def _measured(value: Value, axis: int, build: Builder) -> Value:
    """Return one size as a vector, taken from a graph input where one has the same dim.

    So what every layer measures the same way is computed once.
    """
    size, graph = size_of(value, axis), build.edit.model.graph
    if isinstance(size, int):
        return build.integers(size)
    for source in graph.inputs if isinstance(size, str) and build.node.graph is graph else ():
        if size in (found := dims(source) or ()):
            value, axis = source, found.index(size)
            break
    return build("Shape", value, start=axis, end=axis + 1)
