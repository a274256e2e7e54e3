# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; only the worker imports this file.
"""Moving, picking and shaping data."""

import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813
from onnx_to_mil.table import Node, Value, emits, rank, variable

PADS = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


@emits("Reshape")
def reshape(node: Node) -> Value:
    """To a known shape; 0 keeps a dimension."""
    value, shape = variable(node.inputs[0]), node.fixed(1)
    keep = not node.get("allowzero", 0)
    return mb.reshape(x=value, shape=[value.shape[i] if n == 0 and keep else int(n) for i, n in enumerate(shape)])


@emits("Flatten")
def flatten(node: Node) -> Value:
    """To two dimensions."""
    value, axis = node.inputs[0], node.get("axis", 1)
    axis = axis + rank(value) if axis < 0 else axis
    return mb.reshape(x=value, shape=[int(np.prod(value.shape[:axis])), int(np.prod(value.shape[axis:]))])


@emits("Squeeze")
def squeeze(node: Node) -> Value:
    """Without some dimensions of 1."""
    axes = node.fixed(1)
    return mb.squeeze(x=node.inputs[0], **({} if axes is None else {"axes": [int(axis) for axis in axes]}))


@emits("Unsqueeze")
def unsqueeze(node: Node) -> Value:
    """With new dimensions of 1."""
    return mb.expand_dims(x=variable(node.inputs[0]), axes=[int(axis) for axis in node.fixed(1)])


@emits("Transpose")
def transpose(node: Node) -> Value:
    """In another order of axes."""
    value = variable(node.inputs[0])
    return mb.transpose(x=value, perm=node.get("perm") or list(reversed(range(rank(value)))))


@emits("Concat")
def concat(node: Node) -> Value:
    """One after the other."""
    return mb.concat(values=[variable(value) for value in node.inputs], axis=node.get("axis"))


@emits("Split")
def split(node: Node) -> Value:
    """Into parts of given or equal sizes."""
    value, axis, sizes = node.inputs[0], node.get("axis", 0), node.fixed(1)
    if sizes is None:
        count, whole = len(node.outputs), value.shape[axis]
        each = -(-whole // count)
        sizes = [min(each, whole - each * index) for index in range(count)]
    if len(sizes) == 1:
        return [mb.identity(x=value)]
    return list(mb.split(x=value, split_sizes=[int(size) for size in sizes], axis=axis))


@emits("Slice")
def cut(node: Node) -> Value:
    """From begin to end in steps; only whole axes are walked backwards."""
    value = variable(node.inputs[0])
    starts, ends = node.fixed(1), node.fixed(2)
    axes, steps = node.fixed(3, list(range(len(starts)))), node.fixed(4, [1] * len(starts))
    begin, end, stride = [0] * rank(value), list(value.shape), [1] * rank(value)
    masked = [False] * rank(value)
    for start, stop, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis, size = int(axis) % rank(value), value.shape[int(axis) % rank(value)]  # noqa: PLW2901
        if step < 0:
            if step != -1 or start < size - 1 or stop > -size:
                raise ValueError("a slice that walks a part backwards is not taken")
            begin[axis], end[axis], stride[axis], masked[axis] = size - 1, 0, -1, True
            continue
        low, high = (int(np.clip(at + size if at < 0 else at, 0, size)) for at in (start, stop))
        begin[axis], end[axis], stride[axis] = low, high, int(step)
    return mb.slice_by_index(x=value, begin=begin, end=end, stride=stride, end_mask=masked)


@emits("Gather")
def gather(node: Node) -> Value:
    """Pick slices by index."""
    return mb.gather(x=variable(node.inputs[0]), indices=variable(node.inputs[1]), axis=node.get("axis", 0))


@emits("GatherElements")
def gather_elements(node: Node) -> Value:
    """Pick elements along an axis."""
    value, indices = map(variable, node.inputs)
    return mb.gather_along_axis(x=value, indices=indices, axis=node.get("axis", 0))


@emits("Expand")
def expand(node: Node) -> Value:
    """Repeat along dimensions of 1."""
    value, wanted = variable(node.inputs[0]), [int(size) for size in node.fixed(1)]
    shape = [1] * (len(wanted) - rank(value)) + list(value.shape)
    wanted = [1] * (len(shape) - len(wanted)) + wanted
    value = value if len(shape) == rank(value) else mb.reshape(x=value, shape=shape)
    reps = [size if given == 1 else 1 for given, size in zip(shape, wanted, strict=True)]
    return mb.tile(x=value, reps=reps) if any(count > 1 for count in reps) else mb.identity(x=value)


@emits("Tile")
def tile(node: Node) -> Value:
    """Repeat along every axis."""
    return mb.tile(x=variable(node.inputs[0]), reps=[int(count) for count in node.fixed(1)])


@emits("Pad")
def pad(node: Node) -> Value:
    """Add at the ends of axes; what reflects or repeats does so on the last two."""
    value, pads, axes = node.inputs[0], node.fixed(1), node.fixed(3)
    mode, depth = PADS.get(node.get("mode", "constant")), rank(node.inputs[0])
    if mode is None or min(pads) < 0:
        raise ValueError(f"padding by {pads} in mode {node.get('mode')} is not taken")
    axes = list(range(depth)) if axes is None else [int(axis) % depth for axis in axes]
    amounts = [0] * (2 * depth)
    for index, axis in enumerate(axes):
        amounts[2 * axis : 2 * axis + 2] = int(pads[index]), int(pads[index + len(axes)])
    fill = node.fixed(2) or [0.0]
    return mb.pad(x=value, pad=amounts, mode=mode, constant_val=np.float32(fill[0]))


@emits("DepthToSpace")
def depth_to_space(node: Node) -> Value:
    """Channels to places, in the order that MIL has."""
    if node.get("mode", "DCR") != "DCR":
        raise ValueError("DepthToSpace in mode CRD is not taken")
    return mb.depth_to_space(x=node.inputs[0], block_size=node.get("blocksize"))


@emits("SpaceToDepth")
def space_to_depth(node: Node) -> Value:
    """Places to channels."""
    return mb.space_to_depth(x=node.inputs[0], block_size=node.get("blocksize"))


@emits("Resize")
def resize(node: Node) -> Value:
    """To whole multiples of height and width: nearest as asymmetric rounds down, linear as half pixels lie."""
    value, scales, sizes = node.inputs[0], node.fixed(2), node.fixed(3)
    ratios = scales or [size / given for size, given in zip(sizes, value.shape, strict=True)]
    if ratios[:-2] != [1.0] * (rank(value) - 2) or any(ratio != int(ratio) for ratio in ratios):
        raise ValueError(f"resizing by {ratios} is not taken")
    height, width = (int(ratio) for ratio in ratios[-2:])
    if node.get("mode", "nearest") == "nearest":
        return mb.upsample_nearest_neighbor(x=value, scale_factor_height=height, scale_factor_width=width)
    return mb.upsample_bilinear(x=value, scale_factor_height=height, scale_factor_width=width, align_corners=False)
