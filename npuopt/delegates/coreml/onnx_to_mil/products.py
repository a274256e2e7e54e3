# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; only the worker imports this file.
"""Products, convolutions and pools."""

import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813
from onnx_to_mil.table import Node, Value, constant, emits, rank, variable

PADDING = {"VALID": "valid", "SAME_UPPER": "same", "SAME_LOWER": "same_lower"}


@emits("MatMul")
def matmul(node: Node) -> Value:
    """Multiply matrices; MIL wants two dimensions of each."""
    left, right = map(variable, node.inputs)
    if rank(left) < 2 or rank(right) < 2:
        raise ValueError("a product with a vector is not taken")
    return mb.matmul(x=left, y=right)


@emits("Gemm")
def gemm(node: Node) -> Value:
    """Alpha * A' * B' + beta * C."""
    left, right, bias = variable(node.inputs[0]), variable(node.inputs[1]), node.input(2)
    made = mb.matmul(x=left, y=right, transpose_x=bool(node.get("transA", 0)), transpose_y=bool(node.get("transB", 0)))
    if (alpha := node.get("alpha", 1.0)) != 1:
        made = mb.mul(x=made, y=np.float32(alpha))
    beta = node.get("beta", 1.0)
    if bias is None or beta == 0:
        return made
    bias = variable(bias)
    return mb.add(x=made, y=bias if beta == 1 else mb.mul(x=bias, y=np.float32(beta)))


def _padding(node: Node, axes: int) -> dict:
    """Return MIL's padding: before and after of each axis, next to each other."""
    if (known := PADDING.get(node.get("auto_pad", "NOTSET"))) is not None:
        return {"pad_type": known}
    pads = node.get("pads") or [0] * (2 * axes)
    return {"pad_type": "custom", "pad": [pads[side * axes + axis] for axis in range(axes) for side in (0, 1)]}


def _bias(node: Node) -> dict:
    value = node.input(2)
    if value is None:
        return {}
    array = constant(value)
    if array is None:
        raise ValueError(f"the bias of {node.op_type} {node.name} is not constant")
    return {"bias": array.astype(np.float32)}


@emits("Conv")
def convolution(node: Node) -> Value:
    """Slide a kernel over one to three axes."""
    axes = rank(node.inputs[0]) - 2
    return mb.conv(
        x=node.inputs[0],
        weight=variable(node.inputs[1]),
        strides=node.get("strides") or [1] * axes,
        dilations=node.get("dilations") or [1] * axes,
        groups=node.get("group", 1),
        **_padding(node, axes),
        **_bias(node),
    )


@emits("ConvTranspose")
def transposed_convolution(node: Node) -> Value:
    """Spread a kernel over one to three axes; the size of the output is given, as output_padding may move it."""
    value, weight = node.inputs[0], variable(node.inputs[1])
    axes, groups = rank(value) - 2, node.get("group", 1)
    strides, dilations = node.get("strides") or [1] * axes, node.get("dilations") or [1] * axes
    extra, pads = node.get("output_padding") or [0] * axes, node.get("pads") or [0] * (2 * axes)
    if node.get("auto_pad", "NOTSET") != "NOTSET" or node.get("output_shape") is not None:
        raise ValueError("ConvTranspose with auto_pad or output_shape is not taken")
    sizes = [
        strides[axis] * (value.shape[2 + axis] - 1)
        + extra[axis]
        + (weight.shape[2 + axis] - 1) * dilations[axis]
        + 1
        - pads[axis]
        - pads[axes + axis]
        for axis in range(axes)
    ]
    return mb.conv_transpose(
        x=value,
        weight=weight,
        strides=strides,
        dilations=dilations,
        groups=groups,
        output_shape=[value.shape[0], weight.shape[1] * groups, *sizes],
        **_padding(node, axes),
        **_bias(node),
    )


def _pool(node: Node) -> dict:
    axes = rank(node.inputs[0]) - 2
    return {
        "x": node.inputs[0],
        "kernel_sizes": node.get("kernel_shape"),
        "strides": node.get("strides") or [1] * axes,
        "ceil_mode": bool(node.get("ceil_mode", 0)),
        **_padding(node, axes),
    }


@emits("MaxPool")
def max_pool(node: Node) -> Value:
    """The largest of each window."""
    return mb.max_pool(**_pool(node))


@emits("AveragePool")
def average_pool(node: Node) -> Value:
    """The mean of each window."""
    return mb.avg_pool(**_pool(node), exclude_padding_from_average=not node.get("count_include_pad", 0))


@emits("GlobalAveragePool")
def global_average_pool(node: Node) -> Value:
    """The mean over all places."""
    return mb.reduce_mean(x=node.inputs[0], axes=list(range(2, rank(node.inputs[0]))), keep_dims=True)


@emits("GlobalMaxPool")
def global_max_pool(node: Node) -> Value:
    """The largest over all places."""
    return mb.reduce_max(x=node.inputs[0], axes=list(range(2, rank(node.inputs[0]))), keep_dims=True)
