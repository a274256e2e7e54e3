"""What the fusions of normalizations share: their spellings, their axes, and the scale and bias behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import (
    Anything,
    Constant,
    DataType,
    Either,
    Number,
    Op,
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
    static_shape,
)
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Editor, Match, Node, Value
    from npuopt.graph.matcher import Pattern

NARROW = (DataType.FLOAT16, DataType.BFLOAT16)


def mean(value: Pattern) -> Op:
    """Return a mean over axes that `trailing_axis` looks at."""
    return Op("ReduceMean", value, Anything())


def square(value: Pattern) -> Either:
    """Return the spellings of a square."""
    return Either(Op("Mul", value, value), Op("Pow", value, Number(2.0)))


def mean_square(value: Pattern) -> Op:
    """Return the mean of squares plus a constant called epsilon."""
    return Op("Add", mean(square(value)), Constant("epsilon"))


def inverse_root(value: Pattern) -> Either:
    """Return the spellings of one over the square root."""
    root = Op("Sqrt", value)
    return Either(Op("Reciprocal", root), Op("Div", Number(1.0), root), Op("Pow", value, Number(-0.5)))


def over_root(value: Pattern, total: Pattern) -> Either:
    """Return the spellings of `value` divided by the square root of `total`."""
    return Either(
        Op("Div", value, Op("Sqrt", total)),
        Op("Div", value, Op("Pow", total, Number(0.5))),
        Op("Mul", value, inverse_root(total)),
    )


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


def following(value: Value, op_type: str, shape: tuple[int, ...], edit: Editor) -> tuple[Value, Value] | None:
    """Return the result of `op_type` with a constant, if that is all that reads `value`, and the constant.

    Args:
        value: a normalized value.
        op_type: Mul for a scale, Add for a bias.
        shape: the normalized shape, that of the last axes; the constant is brought to it.
        edit: adds the constant where it has to be brought to the shape.
    """
    node = only_user(value)
    maker = producer(value)
    if node is None or maker is None or node.graph is not maker.graph or not is_op(node, op_type):
        return None
    other = next((item for item in node.inputs if item is not None and item is not value), None)
    brought = of_shape(other, shape, value, node, edit)
    return None if brought is None else (node.outputs[0], brought)


def of_shape(other: Value | None, shape: tuple[int, ...], value: Value, near: Node, edit: Editor) -> Value | None:
    """Return a constant operand of `value` brought to the normalized shape, or None where that cannot be."""
    given, depth = static_shape(other), rank(value)
    if other is None or given is None or depth is None or len(given) > depth or not _fits(given, shape):
        return None
    known = constant(other)
    if known is None or given == shape:
        return None if known is None else other
    full = np.broadcast_to(known.reshape(_without_leading_ones(given)), shape)
    return edit.constant(full, near=near)


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


def one_of(shape: tuple[int, ...], like: Value, edit: Editor, near: Node) -> Value:
    """Return a constant full of ones, of the element type of `like`."""
    kind = element_type(like)
    return edit.constant(np.ones(shape, dtype=(kind or DataType.FLOAT).numpy()), near=near)


def _fits(constant_shape: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    trailing = _without_leading_ones(constant_shape)
    if len(trailing) > len(shape):
        return False
    return all(size in (1, full) for size, full in zip(reversed(trailing), reversed(shape), strict=False))


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    sizes = list(shape)
    while sizes and sizes[0] == 1:
        sizes.pop(0)
    return tuple(sizes)
