"""What the fusions share that take in a scale and a bias of each channel behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import constant, element_type, is_op, only_user, producer, rank, static_shape

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value

CHANNEL_AXIS = 1


def following_channels(value: Value, op_type: str, channels: int, edit: Editor) -> tuple[Value, Value] | None:
    """Return the result of `op_type` with a constant of each channel, if that alone reads `value`, and the constant.

    Args:
        value: of rank 3 or more, with the channels in axis 1.
        op_type: Mul for a scale, Add for a bias.
        channels: how many there are.
        edit: adds the constant, as a vector.
    """
    node, maker = only_user(value), producer(value)
    if node is None or maker is None or node.graph is not maker.graph or not is_op(node, op_type):
        return None
    other = next((item for item in node.inputs if item is not value), None)
    known, shape, depth = constant(other), static_shape(other), rank(value)
    if known is None or shape is None or depth is None or len(shape) > depth:
        return None
    aligned = (*[1] * (depth - len(shape)), *shape)
    if aligned[CHANNEL_AXIS] not in (1, channels) or known.size != aligned[CHANNEL_AXIS]:
        return None
    full = np.broadcast_to(known.reshape(-1), (channels,))
    return node.outputs[0], edit.constant(np.ascontiguousarray(full), near=node)


def vector_of(number: float, channels: int, like: Value, near: Node, edit: Editor) -> Value:
    """Return a constant with `number` for each channel, of the element type of `like`."""
    kind = element_type(like)
    dtype = kind.numpy() if kind is not None else np.dtype(np.float32)
    return edit.constant(np.full(channels, number, dtype=dtype), near=near)


def is_filled_with(value: Value | None, number: float) -> bool:
    """Say whether every element of a constant is `number`."""
    known = constant(value)
    return known is not None and bool((known.astype(np.float64) == number).all())


def affine_after(node: Node, channels: int, like: Value, edit: Editor) -> tuple[Node, Value, Value]:
    """Return the last node of a scale and a shift of each channel behind `node`, and both; ones and zeros if missing.

    Args:
        node: its first output may be scaled, then shifted.
        channels: how many there are.
        like: a value of the element type that made-up constants take.
        edit: makes them.
    """
    end = node.outputs[0]
    scaled = following_channels(end, "Mul", channels, edit)
    end = scaled[0] if scaled else end
    shifted = following_channels(end, "Add", channels, edit)
    end = shifted[0] if shifted else end
    last = end.producer() or node
    scale = scaled[1] if scaled else vector_of(1, channels, like, last, edit)
    return last, scale, shifted[1] if shifted else vector_of(0, channels, like, last, edit)
