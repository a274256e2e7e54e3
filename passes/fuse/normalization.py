"""What the fusions of normalizations share: their axes, their epsilon, and the casts around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import (
    DataType,
    attribute,
    constant,
    dims,
    element_type,
    input_at,
    integers,
    is_op,
    only_user,
    producer,
    rank,
)
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Match, Value

NARROW = (DataType.FLOAT16, DataType.BFLOAT16)


def trailing_axis(found: Match, x: Value) -> int | str:
    """Return the first of the reduced axes, counted from the end, or why the pattern is no normalization.

    Every mean must be over the same axes, those must be the last ones of `x`, and be kept with length 1.
    """
    depth = rank(x)
    if depth is None:
        return f"the rank of {x.name!r} is not known"
    every: set[tuple[int, ...]] = set()
    for node in (node for node in found.interior if is_op(node, "ReduceMean")):
        axes = integers(input_at(node, 1))
        if not axes:
            return "the axes of a mean are not constant"
        if not attribute(node, "keepdims", 1):
            return "a mean does not keep its axes"
        every.add(tuple(sorted(axis % depth for axis in axes)))
    if len(every) != 1:
        return f"its means are over different axes, {' and '.join(map(str, map(list, sorted(every))))}"
    axes = every.pop()
    if axes != tuple(range(axes[0], depth)):
        return f"it normalizes over the axes {list(axes)} of {depth}, which are not the last"
    return axes[0] - depth


def without_casts(x: Value, result: Value) -> tuple[Value, Value]:
    """Return the source and the result in half precision, where only the computation between them is in float.

    A normalization in half precision computes in float by itself.
    """
    widened, narrowed = producer(x, "Cast"), only_user(result)
    source = input_at(widened, 0) if widened is not None else None
    if source is None or element_type(source) not in NARROW or element_type(x) != DataType.FLOAT:
        return x, result
    if narrowed is None or not is_op(narrowed, "Cast") or element_type(narrowed.outputs[0]) != element_type(source):
        return x, result
    if widened is None or narrowed.graph is not widened.graph:
        return x, result
    return source, narrowed.outputs[0]


@dataclass(frozen=True)
class Normalization:
    """A pattern that is a normalization over the last axes of x.

    Attributes:
        axis: the first normalized axis, counted from the end.
        epsilon: what is added under the root.
        shape: the lengths of the normalized axes.
    """

    axis: int
    epsilon: float
    shape: tuple[int, ...]


def examine(found: Match) -> Normalization | Declined:
    """Return what the pattern normalizes, or why it cannot be fused."""
    x = found.values["x"]
    if why := found.exposed():
        return Declined(why)
    axis = trailing_axis(found, x)
    if isinstance(axis, str):
        return Declined(axis)
    epsilon = constant(found.values["epsilon"])
    if epsilon is None or epsilon.size != 1 or epsilon.ndim > (rank(x) or 0):
        return Declined(f"epsilon {found.values['epsilon'].name!r} is not a single number")
    sizes = [size for size in (dims(x) or ())[axis:] if isinstance(size, int)]
    if len(sizes) != -axis:
        return Declined(f"the length of a normalized axis of {x.name!r} is not known")
    return Normalization(axis, float(epsilon.reshape(())), tuple(sizes))
