"""Ops that move, cut, join and pick data: what they read and what they make has one encoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.delegates.litert.context import Result
from npuopt.delegates.litert.values import Held, channels_last, element, is_float, numbers, plain, shape_of
from npuopt.delegates.litert.weights import float_numbers
from npuopt.graph import attribute, attribute_list, integers, is_constant

if TYPE_CHECKING:
    from npuopt.delegates.litert.context import Context
    from npuopt.delegates.litert.step import Emitter, Step
    from npuopt.graph import Value

REFLECT, SYMMETRIC = 0, 1
"""Codes of MirrorPadMode."""


def reshape(step: Step, context: Context) -> None:
    """Write whatever keeps the elements in their order as RESHAPE."""
    x = context.read(step.input(0), plain(len(shape_of(step.input(0)))))
    shape = shape_of(step.output)
    if shape == x.shape:
        context.bind(step.output, x)
        return
    sizes = context.integer_list(shape, "shape")
    context.emit("RESHAPE", [x.index, sizes], Result(step.output, plain(len(shape)), x.encoding), newShape=shape)


def identity(step: Step, context: Context) -> None:
    """Write nothing: the output is held where the input is."""
    context.bind(step.output, context.read(step.input(0)))


def transpose(step: Step, context: Context) -> None:
    """Write nothing: the output is the same tensor with another order of axes."""
    x = context.read(step.input(0))
    permutation = attribute_list(step.node, "perm", tuple(reversed(range(x.rank))))
    order = tuple(permutation.index(axis) for axis in x.order)
    context.bind(step.output, Held(x.index, x.shape, x.dtype, x.encoding, order))


def concat(step: Step, context: Context) -> None:
    """Write a CONCATENATION of tensors that all have the output's encoding."""
    values = [value for value in step.node.inputs if value is not None]
    depth = len(shape_of(step.output))
    orders = [context.known_order(value) for value in values]
    order = next((known for known in orders if known is not None), plain(depth))
    sides = [context.read(value, order) for value in values]
    wanted = context.wanted_encoding(step.output)
    if wanted is not None:
        sides = [context.requantize(side, wanted) for side in sides]
    axis = sides[0].axis(attribute(step.node, "axis", 0))
    context.emit("CONCATENATION", [side.index for side in sides], Result(step.output, order), axis=axis)


def slice_(step: Step, context: Context) -> None:
    """Write a Slice as STRIDED_SLICE."""
    x = context.read(step.input(0))
    starts, ends = integers(step.input(1)), integers(step.input(2))
    if starts is None or ends is None:
        raise step.refusal("where it cuts is known at run time only")
    axes = list(range(len(starts))) if step.optional(3) is None else integers(step.optional(3))
    steps = [1] * len(starts) if step.optional(4) is None else integers(step.optional(4))
    if axes is None or steps is None:
        raise step.refusal("where it cuts is known at run time only")
    begin, end, stride, mask = [0] * x.rank, list(x.shape), [1] * x.rank, 0
    for given in zip(starts, ends, axes, steps, strict=True):
        place = x.axis(given[2])
        begin[place], end[place], stride[place] = slice(given[0], given[1], given[3]).indices(x.shape[place])
        if end[place] < 0:  # backwards to the very first: TFLite would count from the end
            mask |= 1 << place
    inputs = [x.index, *(context.integer_list(one) for one in (begin, end, stride))]
    context.emit("STRIDED_SLICE", inputs, Result(step.output, x.order, x.encoding), endMask=mask)


def split(step: Step, context: Context) -> None:
    """Write a Split as SPLIT, which more compilers take, or as SPLIT_V where its parts differ in size."""
    x = context.read(step.input(0))
    axis = attribute(step.node, "axis", 0)
    sizes = [shape_of(value)[axis] for value in step.outputs]
    place = context.constant(np.array(x.axis(axis), np.int32), "axis")
    results = [Result(value, x.order, x.encoding) for value in step.outputs]
    if len(set(sizes)) == 1:
        context.emit("SPLIT", [place, x.index], *results, numSplits=len(results))
    else:
        inputs = [x.index, context.integer_list(sizes, "sizes"), place]
        context.emit("SPLIT_V", inputs, *results, numSplits=len(results))


def gather(step: Step, context: Context) -> None:
    """Write a Gather; constant indices are counted from the start."""
    x = context.read(step.input(0), plain(len(shape_of(step.input(0)))))
    axis = attribute(step.node, "axis", 0) % x.rank
    at = indices(step.input(1), x.shape[axis], context)
    depth = len(shape_of(step.output))
    context.emit("GATHER", [x.index, at], Result(step.output, plain(depth), x.encoding), axis=axis)


def gather_nd(step: Step, context: Context) -> None:
    """Write a GatherND."""
    if attribute(step.node, "batch_dims", 0):
        raise step.refusal("batch_dims")
    x = context.read(step.input(0), plain(len(shape_of(step.input(0)))))
    at = context.read(step.input(1), plain(len(shape_of(step.input(1)))))
    depth = len(shape_of(step.output))
    context.emit("GATHER_ND", [x.index, at.index], Result(step.output, plain(depth), x.encoding))


def indices(value: Value, size: int, context: Context) -> int:
    """Return the tensor of indices into an axis of `size`."""
    if not is_constant(value):
        return context.read(value, plain(len(shape_of(value)))).index
    array = numbers(value).astype(np.int64)
    return context.constant(np.where(array < 0, array + size, array).astype(np.int32), "indices")


def expand(step: Step, context: Context) -> None:
    """Write an Expand as BROADCAST_TO."""
    depth = len(shape_of(step.output))
    x = context.read(step.input(0), plain(len(shape_of(step.input(0)))))
    sizes = context.integer_list(shape_of(step.output), "shape")
    context.emit("BROADCAST_TO", [x.index, sizes], Result(step.output, plain(depth), x.encoding))


def tile(step: Step, context: Context) -> None:
    """Write a Tile."""
    x = context.read(step.input(0))
    repeats = integers(step.input(1))
    if repeats is None:
        raise step.refusal("its repeats are known at run time only")
    counts = context.integer_list([repeats[axis] for axis in x.order], "repeats")
    context.emit("TILE", [x.index, counts], Result(step.output, x.order, x.encoding))


def pad(step: Step, context: Context) -> None:
    """Write a Pad as PAD, PADV2 or MIRROR_PAD."""
    x = context.read(step.input(0))
    amounts, axes = integers(step.input(1)), integers(step.optional(3))
    chosen = list(range(x.rank)) if step.optional(3) is None else axes
    if amounts is None or chosen is None:
        raise step.refusal("how much it pads is known at run time only")
    if min(amounts, default=0) < 0:
        raise step.refusal("it cuts")
    pairs = np.zeros((x.rank, 2), np.int32)
    for index, axis in enumerate(chosen):
        pairs[x.axis(axis)] = (amounts[index], amounts[index + len(chosen)])
    inputs = [x.index, context.constant(pairs, "pads")]
    result = Result(step.output, x.order, x.encoding)
    mode = attribute(step.node, "mode", "constant")
    if mode == "reflect":
        context.emit("MIRROR_PAD", inputs, result, mode=REFLECT)
    elif mode != "constant":
        raise step.refusal(f"mode {mode}")
    elif not (number := _filling(step)):
        context.emit("PAD", inputs, result)
    else:
        stored = np.array(number)
        if x.encoding is not None:
            limits = np.iinfo(x.dtype)
            stored = np.clip(np.rint(stored / x.encoding.scale) + x.encoding.zero_point, limits.min, limits.max)
        filling = context.constant(stored.astype(x.dtype), "filling", x.encoding)
        context.emit("PADV2", [*inputs, filling], result)


def _filling(step: Step) -> float:
    value = step.optional(2)
    return 0.0 if value is None else float(float_numbers(value).reshape(()))


def resize(step: Step, context: Context) -> None:
    """Write a Resize of an image as RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR."""
    if len(shape_of(step.input(0))) != 4:
        raise step.refusal("only images")
    names = {"linear": "RESIZE_BILINEAR", "nearest": "RESIZE_NEAREST_NEIGHBOR"}
    mode = attribute(step.node, "mode", "nearest")
    coordinates = attribute(step.node, "coordinate_transformation_mode", "half_pixel")
    if mode not in names or coordinates not in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
        raise step.refusal(f"mode {mode} with {coordinates}")
    x = context.read(step.input(0), channels_last(4))
    sizes = context.integer_list(shape_of(step.output)[2:], "sizes")
    context.emit(
        names[mode],
        [x.index, sizes],
        Result(step.output, x.order, x.encoding),
        alignCorners=coordinates == "align_corners",
        halfPixelCenters=coordinates in ("half_pixel", "pytorch_half_pixel"),
    )


def space_depth(step: Step, context: Context) -> None:
    """Write a DepthToSpace or SpaceToDepth."""
    if attribute(step.node, "mode", "DCR") != "DCR":
        raise step.refusal("mode CRD")
    name = "DEPTH_TO_SPACE" if step.node.op_type == "DepthToSpace" else "SPACE_TO_DEPTH"
    x = context.read(step.input(0), channels_last(4))
    result = Result(step.output, x.order, x.encoding)
    context.emit(name, [x.index], result, blockSize=attribute(step.node, "blocksize", 1))


def cast(step: Step, context: Context) -> None:
    """Write a Cast; the schema notes both types."""
    x = context.read(step.input(0))
    if is_float(step.output) and element(step.output) == x.dtype:
        context.bind(step.output, x)
        return
    context.emit("CAST", [x.index], Result(step.output, x.order))


EMITTERS: dict[str, Emitter] = {
    "Cast": cast,
    "Concat": concat,
    "DepthToSpace": space_depth,
    "Dropout": identity,
    "Expand": expand,
    "Flatten": reshape,
    "Gather": gather,
    "GatherND": gather_nd,
    "Identity": identity,
    "Pad": pad,
    "Reshape": reshape,
    "Resize": resize,
    "Slice": slice_,
    "SpaceToDepth": space_depth,
    "Split": split,
    "Squeeze": reshape,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": reshape,
}
