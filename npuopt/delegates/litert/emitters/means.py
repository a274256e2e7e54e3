"""Means over the positions of an image as a depthwise convolution over rows of few channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.delegates.litert.context import Result
from npuopt.delegates.litert.emitters.windows import IMAGE, VALID
from npuopt.delegates.litert.flat import Encoding
from npuopt.delegates.litert.step import NONE
from npuopt.delegates.litert.values import Held, plain
from npuopt.delegates.litert.weights import bias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.delegates.litert.context import Context
    from npuopt.delegates.litert.step import Step

CHANNELS = 16
"""Of the image that is convolved; the others of each position lie beside each other as columns."""
MOST_POSITIONS = 64
"""Rows that a kernel on Ethos-U may have."""
WEIGHT = 127


def folds(step: Step, context: Context, x: Held, axes: Sequence[int]) -> bool:
    """Say whether a mean of integers is one over all positions of one image, and these are few enough."""
    if not (context.folded_means and context.integers and x.order == IMAGE and sorted(axes) == [2, 3]):
        return False
    count, rows, columns, channels = x.shape
    small = 1 < rows * columns <= MOST_POSITIONS
    return small and count == 1 and channels % CHANNELS == 0 and context.output_type(step.output) == x.dtype


def folded_mean(step: Step, context: Context, x: Held) -> None:
    """Write the mean: as the positions are rows and all weights are one, sixteen channels stand for all.

    Vela makes of a MEAN a convolution that computes one position at a time and reads scales for each channel.
    """
    name, channels = step.output.name, x.shape[3]
    positions = x.shape[1] * x.shape[2]
    rows = _reshaped(context, x, f"{name}_rows", (1, positions, channels // CHANNELS, CHANNELS))
    scales = (1 / (positions * WEIGHT),) * CHANNELS
    held = Encoding(scales, (0,) * CHANNELS, 3)
    shape = (1, positions, 1, CHANNELS)
    kernel = Held(
        context.constant(np.full(shape, WEIGHT, np.int8), "ones", held), shape, "int8", held, plain(len(shape))
    )
    biases = bias(context, None, x, kernel, CHANNELS)
    encoding = context.wanted_encoding(step.output)
    made = context.intermediate(f"{name}_reduced", x, (1, 1, *rows.shape[2:]), encoding)
    context.operator(
        "DEPTHWISE_CONV_2D",
        [rows.index, kernel.index, biases],
        [made.index],
        x.dtype,
        padding=VALID,
        strideH=1,
        strideW=1,
        dilationHFactor=1,
        dilationWFactor=1,
        depthMultiplier=1,
        fusedActivationFunction=NONE,
    )
    whole = (1, 1, 1, channels)
    inputs = [made.index, context.integer_list(whole, "shape")]
    context.emit("RESHAPE", inputs, Result(step.output, IMAGE, encoding), newShape=whole)


def _reshaped(context: Context, x: Held, name: str, shape: tuple[int, ...]) -> Held:
    made = context.intermediate(name, x, shape)
    context.operator("RESHAPE", [x.index, context.integer_list(shape, "shape")], [made.index], x.dtype, newShape=shape)
    return made
