"""Convolutions and pools: images lie channels last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.delegates.litert.context import Result
from npuopt.delegates.litert.step import NONE
from npuopt.delegates.litert.values import Held, channels_last, shape_of
from npuopt.delegates.litert.weights import bias, weight
from npuopt.graph import attribute, attribute_list

if TYPE_CHECKING:
    from npuopt.delegates.litert.context import Context
    from npuopt.delegates.litert.flat import Option
    from npuopt.delegates.litert.step import Emitter, Step

SAME, VALID = 0, 1
"""Codes of the schema's Padding."""
IMAGE = channels_last(4)


@dataclass(frozen=True)
class Window:
    """How a kernel moves over an image: two numbers each, height first."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    begins: tuple[int, int]
    ends: tuple[int, int]
    same: bool

    @property
    def padded(self) -> bool:
        """Say whether elements have to be added around the image ahead of the operator."""
        return not self.same and any((*self.begins, *self.ends))


def conv(step: Step, context: Context) -> None:
    """Write a Conv as CONV_2D or DEPTHWISE_CONV_2D."""
    shape, kernel_shape = shape_of(step.input(0)), shape_of(step.input(1))
    if len(shape) != 4:
        raise step.refusal(f"its data has rank {len(shape)}")
    group = attribute(step.node, "group", 1)
    depthwise = group > 1 and group == shape[1]
    window = window_of(step, shape, kernel_shape[2:])
    x = around(context, context.read(step.input(0), IMAGE), window)
    kernel = weight(context, step.input(1), (1, 2, 3, 0) if depthwise else (0, 2, 3, 1))
    biases = bias(context, step.optional(2), x, kernel, kernel_shape[0])
    options: dict[str, Option] = {
        "padding": SAME if window.same else VALID,
        "strideH": window.strides[0],
        "strideW": window.strides[1],
        "dilationHFactor": window.dilations[0],
        "dilationWFactor": window.dilations[1],
        "fusedActivationFunction": step.activation,
    }
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    if depthwise:
        options["depthMultiplier"] = kernel_shape[0] // group
    result = Result(step.output, IMAGE)
    context.emit(name, [x.index, kernel.index, biases], result, kind=version_kind(x, kernel), **options)


def max_pool(step: Step, context: Context) -> None:
    """Write a MaxPool as MAX_POOL_2D, behind a PADV2 of the least number where it is padded otherwise than SAME."""
    window = window_of(step, shape_of(step.input(0)), attribute_list(step.node, "kernel_shape"))
    x = context.read(step.input(0), IMAGE)
    least = np.finfo(np.float32).min if x.encoding is None else np.iinfo(x.dtype).min
    pool(step, context, "MAX_POOL_2D", around(context, x, window, float(least)), window)


def average_pool(step: Step, context: Context) -> None:
    """Write an AveragePool as AVERAGE_POOL_2D, which leaves out what lies outside of the image."""
    window = window_of(step, shape_of(step.input(0)), attribute_list(step.node, "kernel_shape"))
    padded = any((*window.begins, *window.ends))
    counted = attribute(step.node, "count_include_pad", 0)
    if padded and counted:
        window = Window(window.kernel, window.strides, window.dilations, window.begins, window.ends, same=False)
    elif window.padded:
        raise step.refusal("it leaves out padding that is not TFLite's SAME")
    pool(step, context, "AVERAGE_POOL_2D", around(context, context.read(step.input(0), IMAGE), window), window)


def pool(step: Step, context: Context, name: str, x: Held, window: Window) -> None:
    """Write a pool, whose output has the encoding of its input."""
    if window.dilations != (1, 1):
        raise step.refusal("it is dilated")
    context.emit(
        name,
        [x.index],
        Result(step.output, IMAGE, x.encoding),
        padding=SAME if window.same else VALID,
        strideH=window.strides[0],
        strideW=window.strides[1],
        filterHeight=window.kernel[0],
        filterWidth=window.kernel[1],
        fusedActivationFunction=NONE,
    )


def conv_transpose(step: Step, context: Context) -> None:
    """Write a ConvTranspose as TRANSPOSE_CONV, and cut from its output what ONNX's padding leaves out."""
    shape, kernel_shape, made = shape_of(step.input(0)), shape_of(step.input(1)), shape_of(step.output)
    if len(shape) != 4 or attribute(step.node, "group", 1) != 1:
        raise step.refusal("only images and one group")
    strides = attribute_list(step.node, "strides", (1, 1))
    begins = attribute_list(step.node, "pads", (0, 0, 0, 0))[:2]
    if attribute_list(step.node, "dilations", (1, 1)) != [1, 1]:
        raise step.refusal("it is dilated")
    if attribute(step.node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise step.refusal("auto_pad")
    whole = [(shape[axis + 2] - 1) * strides[axis] + kernel_shape[axis + 2] for axis in (0, 1)]
    if any(begins[axis] + made[axis + 2] > whole[axis] for axis in (0, 1)):
        raise step.refusal("output_padding goes beyond what the kernel reaches")
    x = context.read(step.input(0), IMAGE)
    kernel = context.read(step.input(1), (1, 2, 3, 0))
    biases = bias(context, step.optional(2), x, kernel, kernel_shape[1])
    full = (shape[0], *whole, kernel_shape[1])
    inputs = [context.integer_list(full), kernel.index, x.index, biases]
    options: dict[str, Option] = {"padding": VALID, "strideH": strides[0], "strideW": strides[1]}
    if full[1:3] == made[2:]:
        context.emit("TRANSPOSE_CONV", inputs, Result(step.output, IMAGE), kind=x.dtype, **options)
        return
    wide = context.intermediate(f"{step.output.name}_whole", x, full, context.wanted_encoding(step.output))
    context.operator("TRANSPOSE_CONV", inputs, [wide.index], x.dtype, **options)
    begin = [0, *begins, 0]
    size = [made[0], *made[2:], made[1]]
    cut = [wide.index, context.integer_list(begin), context.integer_list(size)]
    context.emit("SLICE", cut, Result(step.output, IMAGE))


def window_of(step: Step, shape: tuple[int, ...], kernel: tuple[int, ...] | list[int]) -> Window:
    """Return how the kernel of a Conv or a pool moves; what it adds at the ends follows from the output's shape."""
    if len(shape) != 4:
        raise step.refusal(f"its data has rank {len(shape)}")
    made = shape_of(step.output)
    strides = attribute_list(step.node, "strides", (1, 1))
    dilations = attribute_list(step.node, "dilations", (1, 1))
    automatic = attribute(step.node, "auto_pad", "NOTSET")
    begins = attribute_list(step.node, "pads", (0, 0, 0, 0))[:2]
    ends, totals = [0, 0], [0, 0]
    for axis in (0, 1):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        needed = (made[axis + 2] - 1) * strides[axis] + reach - shape[axis + 2]
        outputs = -(-shape[axis + 2] // strides[axis])
        totals[axis] = max((outputs - 1) * strides[axis] + reach - shape[axis + 2], 0)
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            begins[axis] = (max(needed, 0) + (automatic == "SAME_LOWER")) // 2
        elif automatic == "VALID":
            begins[axis] = 0
        ends[axis] = max(needed - begins[axis], 0)
    same = all(
        made[axis + 2] == -(-shape[axis + 2] // strides[axis]) and begins[axis] == totals[axis] // 2 for axis in (0, 1)
    )
    pairs = [(int(pair[0]), int(pair[1])) for pair in (kernel, strides, dilations, begins, ends)]
    return Window(*pairs, same=same and any((*begins, *ends)))


def around(context: Context, x: Held, window: Window, filling: float | None = None) -> Held:
    """Return the image with the window's padding around it: of zeros, or of `filling` as stored."""
    if not window.padded:
        return x
    (top, left), (bottom, right) = window.begins, window.ends
    shape = (x.shape[0], x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3])
    made = context.intermediate("padded", x, shape)
    amounts = context.constant(np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
    inputs = [x.index, amounts]
    if filling is None:
        context.operator("PAD", inputs, [made.index], x.dtype)
    else:
        least = context.constant(np.array(filling).astype(x.dtype), encoding=x.encoding)
        context.operator("PADV2", [*inputs, least], [made.index], x.dtype)
    return Held(made.index, shape, x.dtype, x.encoding, x.order)


def version_kind(x: Held, kernel: Held) -> str:
    """Return what the version of a product's operator depends on."""
    if kernel.dtype == "int4":
        return "int4"
    return "hybrid" if x.encoding is None and kernel.encoding is not None else x.dtype


EMITTERS: dict[str, Emitter] = {
    "AveragePool": average_pool,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
}
