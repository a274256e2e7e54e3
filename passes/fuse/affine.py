"""What the fusions share that let a Conv, ConvTranspose or Gemm scale and shift its own output channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import (
    attribute,
    constant,
    element_type,
    input_at,
    is_constant,
    only_user,
    producer,
    rank,
    static_shape,
)
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


def absorb(
    node: Node, scale: np.ndarray | None, shift: np.ndarray | None, edit: Editor, before: Node
) -> Value | Declined:
    """Emit `node` again with weights that make `scale * node + shift`, or say why that cannot be.

    Args:
        node: a Conv, ConvTranspose or Gemm; or a MatMul of two matrices, which becomes a Gemm.
        scale: one factor for each output channel, or None for 1.
        shift: what is added to each output channel, or None for 0.
        edit: the graph's editor.
        before: where to put the new node.
    """
    weight, bias = input_at(node, 1), input_at(node, 2)
    kind = element_type(weight)
    if weight is None or kind is None or not kind.is_floating_point():
        return Declined(f"its weight is of type {kind}")
    if scale is not None and not is_constant(weight):
        return Declined(f"the weight {weight.name!r} is not constant")
    if bias is not None and not is_constant(bias):
        return Declined(f"the bias {bias.name!r} is not constant")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
        new_weight = None if scale is None else _scaled_weight(node, weight, scale)
        new_bias = _new_bias(node, bias, scale, shift)
        arrays = [array.astype(kind.numpy()) for array in (new_weight, new_bias) if array is not None]
    if not all(np.isfinite(array.astype(np.float64)).all() for array in arrays):
        return Declined(f"the new weights would not be finite in {kind}")
    weight_value = weight if new_weight is None else edit.constant(arrays[0], near=before, name=_derived(weight))
    inputs = [node.inputs[0], weight_value]
    if new_bias is not None:
        inputs.append(edit.constant(arrays[-1], near=before, name=_derived(bias or weight, "bias")))
    attributes = {**node.attributes, **({"beta": None} if node.op_type == "Gemm" else {})}
    op_type = "Gemm" if node.op_type == "MatMul" else node.op_type
    return edit.emit(op_type, inputs, attributes, before=before, name=node.name or "")


def _scaled_weight(node: Node, weight: Value, scale: np.ndarray) -> np.ndarray | None:
    known = constant(weight)
    if known is None:
        return None
    factors = scale.astype(known.dtype if known.dtype.kind == "f" else np.float64)
    if node.op_type == "Conv":
        return known * factors.reshape(-1, *[1] * (known.ndim - 1))
    if node.op_type == "ConvTranspose":
        groups = attribute(node, "group", 1)
        inputs, per_group, *kernel = known.shape
        grouped = known.reshape(groups, inputs // groups, per_group, *kernel)
        return (grouped * factors.reshape(groups, 1, per_group, *[1] * len(kernel))).reshape(known.shape)
    return known * (factors[:, None] if attribute(node, "transB", 0) else factors)


def _new_bias(node: Node, bias: Value | None, scale: np.ndarray | None, shift: np.ndarray | None) -> np.ndarray | None:
    known = constant(bias)
    if known is None:
        return shift
    result = known.astype(np.float64) * (attribute(node, "beta", 1.0) if node.op_type == "Gemm" else 1.0)
    result = result if scale is None else result * scale
    return result if shift is None else result + shift


def _derived(value: Value, suffix: str = "") -> str:
    return f"{value.name}/fused" if not suffix else f"{value.name}/fused_{suffix}"
