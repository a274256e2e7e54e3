"""Named conditions for what the closed set cannot say. A predicate's docstring is its documentation.

A predicate takes a node and returns what is at fault, as one sentence with the value in it, or an empty string.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from npuopt.graph import (
    attribute,
    attribute_list,
    constant,
    dims,
    element_type,
    input_at,
    is_constant,
    rank,
    static_shape,
)
from npuopt.target.resizing import grows_by_two_four_or_eight, no_sample_lies_halfway
from npuopt.target.views import dequantizer

if TYPE_CHECKING:
    from npuopt.graph import Node

Predicate: TypeAlias = "Callable[[Node], str]"

PREDICATES: dict[str, Predicate] = {}


def predicate(name: str) -> Callable[[Predicate], Predicate]:
    """Register a predicate under the name that descriptors use."""

    def register(function: Predicate) -> Predicate:
        PREDICATES[name] = function
        return function

    return register


@predicate("inputs-have-equal-rank")
def inputs_have_equal_rank(node: Node) -> str:
    """All inputs have the same number of dimensions."""
    ranks = [rank(value) for value in node.inputs if value is not None]
    return "" if len(set(ranks)) <= 1 else f"the inputs have ranks {', '.join(map(str, ranks))}; equal ranks are taken"


@predicate("inputs-have-equal-shape")
def inputs_have_equal_shape(node: Node) -> str:
    """All inputs have the same shape: nothing is broadcast."""
    shapes = [dims(value) for value in node.inputs if value is not None]
    if len(set(shapes)) <= 1:
        return ""
    return f"the inputs have shapes {' and '.join(str(list(shape or ())) for shape in shapes)}; nothing is broadcast"


@predicate("outputs-have-equal-shape")
def outputs_have_equal_shape(node: Node) -> str:
    """All outputs have the same shape."""
    shapes = [dims(value) for value in node.outputs]
    if all(shape == shapes[0] for shape in shapes):
        return ""
    return f"the outputs have shapes {' and '.join(str(list(shape or ())) for shape in shapes)}; equal ones are taken"


@predicate("slopes-are-one-for-each-channel")
def slopes_are_one_for_each_channel(node: Node) -> str:
    """Input 1, but for axis 1 of input 0, has dimensions of 1."""
    depth, shape = rank(input_at(node, 0)), dims(input_at(node, 1))
    if shape is None or depth is None:
        return "the shape of the slopes is not known"
    channels = len(shape) - depth + 1
    others = [size for axis, size in enumerate(shape) if axis != channels]
    return "" if all(size == 1 for size in others) else f"the slopes have shape {list(shape)}; one a channel is taken"


@predicate("convolution-is-depthwise-or-dense")
def convolution_is_depthwise_or_dense(node: Node) -> str:
    """The attribute group is 1 or equals the number of input channels."""
    group = attribute(node, "group", 1)
    shape = static_shape(input_at(node, 0))
    channels = shape[1] if shape is not None and len(shape) > 1 else None
    return "" if group in (1, channels) else f"group is {group}; 1 or the number of channels ({channels}) is taken"


@predicate("padding-is-symmetric")
def padding_is_symmetric(node: Node) -> str:
    """The attribute pads has the same number before and after, on every axis."""
    found = node.attributes.get("pads")
    pads = list(found.as_ints()) if found is not None else []
    half = len(pads) // 2
    return "" if pads[:half] == pads[half:] else f"pads is {pads}; equal padding before and after is taken"


@predicate("padding-is-same-upper")
def padding_is_same_upper(node: Node) -> str:
    """The padding of a Conv or a pool is what SAME_UPPER adds, or none."""
    pads = attribute_list(node, "pads")
    if attribute(node, "auto_pad", "NOTSET") in ("SAME_UPPER", "VALID") or not any(pads):
        return ""
    before, after = static_shape(input_at(node, 0)), static_shape(node.outputs[0])
    kernel = attribute_list(node, "kernel_shape")
    if before is None or after is None or len(pads) != 2 * len(kernel) or len(before) != len(kernel) + 2:
        return "its padding cannot be compared with SAME_UPPER"
    for axis, size in enumerate(kernel):
        stride = attribute_list(node, "strides", [1] * len(kernel))[axis]
        reach = (size - 1) * attribute_list(node, "dilations", [1] * len(kernel))[axis] + 1
        count = -(-before[axis + 2] // stride)
        total = max((count - 1) * stride + reach - before[axis + 2], 0)
        if after[axis + 2] != count or pads[axis] != total // 2:
            return f"it pads {pads}, and SAME_UPPER is taken"
    return ""


@predicate("lone-windows-read-to-the-end")
def lone_windows_read_to_the_end(node: Node) -> str:
    """A Conv or a pool reads the padded input to its end along each axis on which it has one window alone."""
    before, after, weight = (static_shape(value) for value in (input_at(node, 0), node.outputs[0], input_at(node, 1)))
    kernel = attribute_list(node, "kernel_shape", (weight or ())[2:])
    if before is None or after is None or len(before) != len(kernel) + 2:
        return "its shapes are not static"
    if attribute(node, "auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return "" if 1 not in after[2:] else "padding that auto_pad adds to a single window is not taken"
    pads = attribute_list(node, "pads", [0] * 2 * len(kernel))
    dilations = attribute_list(node, "dilations", [1] * len(kernel))
    for axis in range(len(kernel)):
        padded = before[axis + 2] + sum(pads[axis :: len(kernel)])
        if after[axis + 2] == 1 and padded != (window := (kernel[axis] - 1) * dilations[axis] + 1):
            return f"its one window along axis {axis + 2} reads {window} of {padded} elements; all are taken"
    return ""


@predicate("batch-and-channels-are-kept")
def batch_and_channels_are_kept(node: Node) -> str:
    """The first two dimensions of output 0 are those of input 0."""
    before, after = dims(input_at(node, 0)), dims(node.outputs[0])
    if before is not None and after is not None and before[:2] == after[:2]:
        return ""
    return f"{list(before or ())} becomes {list(after or ())}; the first two dimensions have to stay"


@predicate("first-input-is-not-broadcast")
def first_input_is_not_broadcast(node: Node) -> str:
    """Input 0 has the shape of output 0; only the other inputs are broadcast."""
    given, made = dims(input_at(node, 0)), dims(node.outputs[0])
    return "" if given == made else f"input 0 is broadcast from {list(given or ())} to {list(made or ())}"


@predicate("scale-has-the-last-dimension")
def scale_has_the_last_dimension(node: Node) -> str:
    """The last dimension of input 1 is that of input 0: no single value stands for all."""
    data, scale = dims(input_at(node, 0)), dims(input_at(node, 1))
    if data and scale and data[-1] == scale[-1]:
        return ""
    return f"the scale has shape {list(scale or ())}, and the data ends in {data[-1] if data else 'nothing'}"


@predicate("axis-has-several-elements")
def axis_has_several_elements(node: Node) -> str:
    """The dimension of input 0 that the attribute axis names is larger than 1."""
    axis, shape = attribute(node, "axis", -1), dims(input_at(node, 0))
    if shape is None or not -len(shape) <= axis < len(shape):
        return f"attribute axis is {axis}, and input 0 has {'no known' if shape is None else len(shape)} dimensions"
    return f"dimension {axis} of input 0 is 1; more is taken" if shape[axis] == 1 else ""


@predicate("first-axis-is-kept")
def first_axis_is_kept(node: Node) -> str:
    """The first axis is not among the axes of input 1 (all axes, where it is left out)."""
    given, axes = input_at(node, 1), constant(input_at(node, 1))
    if given is not None and axes is None:
        return "the axes are known at run time only"
    depth = rank(input_at(node, 0)) or 0
    reduced = set(range(depth)) if axes is None else {int(axis) % max(depth, 1) for axis in axes.reshape(-1)}
    return "the first axis is reduced; it has to stay" if 0 in reduced else ""


@predicate("weight-has-at-most-8-bits")
def weight_has_at_most_8_bits(node: Node) -> str:
    """Input 1, where it is quantized, is stored in 8 bits or fewer."""
    weight = input_at(node, 1)
    maker = dequantizer(weight) if weight is not None else None
    kind = element_type(input_at(maker, 0)) if maker is not None else None
    if kind is None or kind.bitwidth <= 8:
        return ""
    return f"the weight is stored in {kind.name.lower()}; at most 8 bits are taken"


@predicate("exponent-is-minus-a-half")
def exponent_is_minus_a_half(node: Node) -> str:
    """Input 1 is the number -0.5, as it is or as 8 bits hold it: the reciprocal of a root."""
    exponent = input_at(node, 1)
    maker = dequantizer(exponent) if exponent is not None else None
    if maker is None:
        found = constant(exponent)
    else:
        stored, scale, zero = (constant(input_at(maker, index)) for index in range(3))
        plain = stored is not None and scale is not None and scale.size == 1
        steps = None if not plain or stored is None else stored.astype(np.float64) - (0 if zero is None else zero)
        found = None if steps is None or scale is None else steps * scale.astype(np.float64)
    if found is not None and found.size == 1 and abs(found.item() + 0.5) < 1e-6:
        return ""
    return f"the exponent is {'not known' if found is None else found.reshape(-1).tolist()[:4]}; -0.5 is taken"


@predicate("strides-are-equal")
def strides_are_equal(node: Node) -> str:
    """All strides are the same number."""
    found = node.attributes.get("strides")
    strides = list(found.as_ints()) if found is not None else []
    return f"strides is {strides}; equal ones are taken" if len(set(strides)) > 1 else ""


@predicate("matrix-weights-or-equal-batches")
def matrix_weights_or_equal_batches(node: Node) -> str:
    """Input 1 is a constant matrix, or it is made at run time and has the leading dimensions of input 0."""
    left, right = dims(input_at(node, 0)), dims(input_at(node, 1))
    if left is None or right is None:
        return "an input has no known shape"
    weight = input_at(node, 1)
    maker = dequantizer(weight) if weight is not None else None
    if is_constant(weight if maker is None else maker.inputs[0]):
        return "" if len(right) == 2 else f"the weight has {len(right)} dimensions; constant matrices are taken"
    if left[:-2] == right[:-2]:
        return ""
    return f"the leading dimensions are {list(left[:-2])} and {list(right[:-2])}; equal ones are taken"


predicate("grows-by-two-four-or-eight")(grows_by_two_four_or_eight)
predicate("no-sample-lies-halfway")(no_sample_lies_halfway)


@predicate("sums-of-16-bits-fit-in-32")
def sums_of_16_bits_fit_in_32(node: Node) -> str:
    """A reduction makes each element of output 0 from at most 32768 elements of input 0."""
    return _summed_beyond(node, 1 << 15)


@predicate("sums-of-signed-16-bits-fit-in-32")
def sums_of_signed_16_bits_fit_in_32(node: Node) -> str:
    """A reduction makes each element of output 0 from at most 65536 elements of input 0."""
    return _summed_beyond(node, 1 << 16)


def _summed_beyond(node: Node, most: int) -> str:
    before, after = static_shape(input_at(node, 0)), static_shape(node.outputs[0])
    if before is None or after is None:
        return "its shapes are not static"
    count = math.prod(before) // max(math.prod(after), 1)
    return f"{count} elements are summed; at most {most} are taken" if count > most else ""


@predicate("blocks-are-whole")
def blocks_are_whole(node: Node) -> str:
    """Attribute K is a whole number of blocks."""
    size, block = attribute(node, "K", 0), attribute(node, "block_size", 0)
    return f"{size} features are no whole number of blocks of {block}" if block < 1 or size % block else ""
