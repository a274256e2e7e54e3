"""The scale and the bias of a normalization: constants of the shape that is normalized."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, constant, element_type, is_op, only_user, producer, rank, static_shape

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value


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
