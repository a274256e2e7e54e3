from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import (
    attribute,
    attribute_list,
    constant,
    dims,
    element_type,
    input_at,
    is_constant,
    only_user,
    producer,
    static_shape,
)
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target

AFFINE = ("Mul", "Div", "Add", "Sub")


@dataclass(frozen=True)
class FuseConvInputAffine(NodePass):
    """A constant factor or summand of the channels ahead of a Conv goes into its weights and bias.

    `Conv(x * s, w, b) -> Conv(x, w * s, b)`, and without padding `Conv(x + t, w, b) -> Conv(x, w, b + sum(w * t))`

    Left alone: a summand ahead of a Conv that pads, as the padding would have to be summed too; a constant that does
    not run along the channels; a divisor of zero; weights, a bias or a constant given at run time; a value that is
    read elsewhere or is a graph output; weights that would overflow their type.
    """

    name = "fuse-conv-input-affine"
    op_types = ("Conv",)
    repeat = True
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the product, quotient, sum or difference that makes the first input of `node`."""
        maker = producer(input_at(node, 0), *AFFINE)
        operands = _operands(maker) if maker is not None else None
        if maker is None or operands is None:
            return None
        source, other = operands
        if only_user(maker.outputs[0]) is not node or maker.graph is not node.graph:
            return Declined(f"{maker.outputs[0].name!r} is read elsewhere or is a graph output")
        numbers = _per_channel(source, other, maker.outputs[0])
        if isinstance(numbers, Declined):
            return numbers
        weights = _weights(node)
        if isinstance(weights, Declined):
            return weights
        changed = _changed(node, maker, numbers, *weights)
        if isinstance(changed, Declined):
            return changed
        kind = element_type(input_at(node, 1))
        with np.errstate(over="ignore"):  # what overflows is refused next
            arrays = [array.astype(kind.numpy()) for array in changed if array is not None and kind is not None]
        if kind is None or not all(np.isfinite(array.astype(np.float64)).all() for array in arrays):
            return Declined(f"the new weights would not be finite in {kind}")
        constants = [edit.constant(array, near=node, name=f"{node.name}/affine") for array in arrays]
        result = edit.emit("Conv", [source, *constants], node.attributes, before=node, name=node.name or "")
        edit.replace(node.outputs[0], result)
        edit.erase_unread(node)
        return Changed(f"took in the {maker.op_type} before it")


def _operands(maker: Node) -> tuple[Value, Value] | None:
    """Return the computed and the constant operand, or None where the node is another pattern."""
    left, right = maker.inputs
    if left is None or right is None:
        return None
    sides = [(left, right), (right, left)] if maker.op_type in ("Add", "Mul") else [(left, right)]
    for source, other in sides:
        if is_constant(other):
            return source, other
    return None if producer(right) is not None or is_constant(left) else (left, right)


def _per_channel(source: Value, other: Value, result: Value) -> np.ndarray | Declined:
    shape, source_dims, channels = static_shape(other), dims(source), (dims(result) or (None, None))[1]
    if shape is None or source_dims is None or source_dims != dims(result) or not isinstance(channels, int):
        return Declined("the constant changes the shape, or the channels are not known")
    aligned = [1] * (len(source_dims) - len(shape)) + list(shape)
    if any(size != 1 for axis, size in enumerate(aligned) if axis != 1) or aligned[1] not in (1, channels):
        return Declined(f"{other.name!r} of shape {list(shape)} does not run along the {channels} channels")
    known = constant(other)
    if known is None:
        return Declined(f"{other.name!r} is not constant")
    return np.broadcast_to(known.astype(np.float64).reshape(-1), (channels,))


def _weights(node: Node) -> tuple[np.ndarray, np.ndarray | None] | Declined:
    weight, bias = constant(input_at(node, 1)), input_at(node, 2)
    if weight is None or (bias is not None and not is_constant(bias)):
        return Declined("its weight or bias is not constant")
    return weight, constant(bias)


def _changed(
    node: Node, maker: Node, numbers: np.ndarray, weight: np.ndarray, bias: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None] | Declined:
    groups, (outputs, inputs, *kernel) = attribute(node, "group", 1), weight.shape
    grouped = weight.astype(np.float64).reshape(groups, outputs // groups, inputs, *kernel)
    along = numbers.reshape(groups, 1, inputs, *[1] * len(kernel))
    if maker.op_type in ("Mul", "Div"):
        if maker.op_type == "Div" and not np.all(numbers):
            return Declined("it divides by zero")
        factor = along if maker.op_type == "Mul" else 1 / along
        return (grouped * factor).reshape(weight.shape), bias
    if any(attribute_list(node, "pads")) or attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return Declined("the Conv pads, and its padding is not summed")
    sign = 1 if maker.op_type == "Add" else -1
    shift = sign * (grouped * along).reshape(outputs, -1).sum(axis=1)
    return weight, shift if bias is None else bias.astype(np.float64) + shift
