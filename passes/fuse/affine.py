"""What the fusions share that let a Conv, ConvTranspose or Gemm scale and shift its own output channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import (
    attribute,
    constant,
    input_at,
    is_constant,
    only_user,
    producer,
    rank,
    static_shape,
)
from npuopt.passes.fuse.absorption import absorb
from npuopt.pipeline import Changed, Declined, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from npuopt.graph import Editor, Node, Value

LINEAR = ("Conv", "ConvTranspose", "Gemm")
CHANNEL_AXIS = 1
Change = tuple["np.ndarray | None", "np.ndarray | None"]
"""A scale and a shift of every output channel; None for 1 and 0."""


def linear_before(value: Value | None, reader: Node, op_types: tuple[str, ...] = LINEAR) -> Node | Declined | None:
    """Return the linear op that makes `value` for `reader` alone; None where no linear op makes it."""
    node = producer(value, *op_types)
    if node is None or value is None:
        return None
    if only_user(value) is not reader or node.graph is not reader.graph:
        return Declined(f"the output {value.name!r} of {node.op_type} is a graph output or read elsewhere")
    return node


def channels_of(node: Node) -> int | None:
    """Return the number of output channels by the shape of the weight, or None when it is not known."""
    shape = static_shape(input_at(node, 1))
    if shape is None:
        return None
    if node.op_type == "Conv":
        return shape[0]
    if node.op_type == "ConvTranspose":
        return shape[1] * attribute(node, "group", 1)
    return shape[0] if attribute(node, "transB", 0) else shape[1]


def per_channel(value: Value | None, node: Node) -> np.ndarray | Declined:
    """Return a constant operand as one number for each output channel of `node`, or say why it is not that.

    Its shape, aligned at the last axis as broadcasting does, must be 1 everywhere but at axis 1.
    """
    depth, channels, shape = rank(node.outputs[0]), channels_of(node), static_shape(value)
    if value is None or not is_constant(value) or shape is None:
        return Declined("the other operand is not constant")
    if depth is None or channels is None:
        return Declined("the output's channels are not known")
    if len(shape) > depth:
        return Declined(f"{value.name!r} of shape {list(shape)} raises the rank")
    aligned = [1] * (depth - len(shape)) + list(shape)
    elsewhere = [size for axis, size in enumerate(aligned) if axis != CHANNEL_AXIS]
    if any(size != 1 for size in elsewhere) or aligned[CHANNEL_AXIS] not in (1, channels):
        return Declined(f"{value.name!r} of shape {list(shape)} does not run along the {channels} channels")
    known = constant(value)
    if known is None or known.dtype.kind not in "fV":
        return Declined("the other operand is not constant")
    return np.broadcast_to(known.astype(np.float64).reshape(-1), (channels,))


def absorb_operand(node: Node, edit: Editor, change: Callable[[np.ndarray], Change | Declined]) -> Outcome:
    """Let the linear op that makes one operand of `node` take in the other, constant one, and drop `node`.

    Args:
        node: Add or Mul, whose operands may be either way round, or Sub or Div.
        edit: the graph's editor.
        change: turns the constant, one number for each channel, into the linear op's scale and shift.
    """
    left, right = node.inputs
    outcome: Outcome = None
    for value, other in [(left, right), (right, left)] if node.op_type in ("Add", "Mul") else [(left, right)]:
        linear = linear_before(value, node)
        if linear is None or producer(other) is not None:
            continue  # a sum or a product of two computed values is another pattern
        if isinstance(linear, Declined):
            outcome = linear
            continue
        numbers = per_channel(other, linear)
        if isinstance(numbers, Declined):
            outcome = numbers
            continue
        asked = change(numbers)
        if isinstance(asked, Declined):
            return asked
        result = absorb(linear, *asked, edit, before=node)
        if isinstance(result, Declined):
            return result
        edit.replace(node.outputs[0], result)
        edit.erase_unread(node)
        return Changed(f"went into the weights of {linear.op_type}")
    return outcome
