"""How a node is known to return its input as it is, whatever the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import attribute, attribute_list, constant, dims, element_type, input_at, integers, rank

if TYPE_CHECKING:
    from collections.abc import Callable

    from npuopt.graph import Node

BEYOND_ANY_DIM = 2**31 - 1
"""Exporters write `to the end` as this or more."""


def _identity(node: Node) -> str:
    del node
    return "it copies"


def _cast(node: Node) -> str:
    before, after = element_type(node.inputs[0]), element_type(node.outputs[0])
    return f"it casts {before.name.lower()} to itself" if before is not None and before == after else ""


def _dropout(node: Node) -> str:
    training = input_at(node, 2)
    if training is None:
        return "it drops nothing at inference"
    value = constant(training)
    return "it drops nothing at inference" if value is not None and not value.any() else ""


def _of_one(node: Node) -> str:
    return "it has one operand" if len(node.inputs) == 1 else ""


def why_same_shape(node: Node) -> str:
    """Recognise the ops that keep the order of elements: where the shape is the same, so is the tensor."""
    before, after = dims(node.inputs[0]), dims(node.outputs[0])
    if before is None or after is None or len(before) != len(after):
        return ""
    same = [left == right and left is not None for left, right in zip(before, after, strict=True)]
    if all(same):
        return "the shape is what it was"
    # With as many elements before and after, one dim that is not known on both sides has to be the same too.
    numbers = [dim for dim, is_same in zip(before, same, strict=True) if is_same]
    positive = all(isinstance(dim, int) and dim > 0 for dim in numbers)
    if node.op_type == "Reshape" and same.count(False) == 1 and positive:
        unknown = same.index(False)
        neither_known = not isinstance(before[unknown], int) and not isinstance(after[unknown], int)
        return "the shape is what it was" if neither_known else ""
    return ""


def _transpose(node: Node) -> str:
    count = rank(node.inputs[0])
    if count is None:
        return ""
    order = attribute_list(node, "perm", range(count)[::-1])
    if order == sorted(order):
        return "it keeps the order of the axes"
    shape = dims(node.inputs[0]) or ()
    moved = [axis for axis in order if shape[axis] != 1]
    if moved == sorted(moved) and dims(node.outputs[0]) == shape and None not in shape:
        return "it moves only axes of size 1 and the shape is what it was"
    return ""


def _slice(node: Node) -> str:
    steps = integers(input_at(node, 4)) if input_at(node, 4) is not None else [1]
    if steps is None or any(step < 1 for step in steps):
        return ""
    # Forward steps keep the order, so as many elements as before are the same ones.
    shape = dims(node.inputs[0])
    if shape is not None and None not in shape and shape == dims(node.outputs[0]):
        return "it takes everything"
    starts, ends = integers(input_at(node, 1)), integers(input_at(node, 2))
    if starts is None or ends is None or set(steps) != {1}:
        return ""
    whole = all(start == 0 for start in starts) and all(end >= BEYOND_ANY_DIM for end in ends)
    return "it takes everything" if whole else ""


def _pad(node: Node) -> str:
    pads = integers(input_at(node, 1))
    return "it pads by nothing" if pads is not None and not any(pads) else ""


def _resize(node: Node) -> str:
    """At scale 1 every output coordinate is that of its input, whatever the mode, but where a region is cropped."""
    if attribute(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        return ""
    scales, shape = constant(input_at(node, 2)), dims(node.inputs[0])
    if scales is not None and scales.size:
        return "it scales by 1" if bool((scales == 1).all()) else ""
    sized = input_at(node, 3) is not None and shape is not None and None not in shape
    return "the size is what it was" if sized and shape == dims(node.outputs[0]) else ""


def _tile(node: Node) -> str:
    repeats = integers(input_at(node, 1))
    return "it repeats once" if repeats is not None and set(repeats) <= {1} else ""


RULES: dict[str, Callable[[Node], str]] = {
    "Identity": _identity,
    "Cast": _cast,
    "CastLike": _cast,
    "Dropout": _dropout,
    "Concat": _of_one,
    "Sum": _of_one,
    "Max": _of_one,
    "Min": _of_one,
    "Mean": _of_one,
    "Transpose": _transpose,
    "Slice": _slice,
    "Pad": _pad,
    "Resize": _resize,
    "Tile": _tile,
}
"""Op type -> the reason why the node is an identity, or an empty string; others are identities by their shape."""
