"""Scales of weights and biases that the target's sums of products come out right with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.quantization.arithmetic import SMALLEST_SCALE, as_float32, powers_of_two
from npuopt.quantization.encodings import Encoding

if TYPE_CHECKING:
    from npuopt.quantization.arithmetic import IntegerType

LARGEST_BIAS = 2**30
"""Biases keep to half of int32: the accumulator that starts with one needs room for the sum of products."""


def bias_encoding(weight: Encoding, activation: Encoding, dtype: IntegerType) -> Encoding:
    """Return the encoding of a bias that is added to sums of activation x weight: the product of their scales."""
    scales = tuple(max(as_float32(activation.scale[0] * scale), SMALLEST_SCALE) for scale in weight.scale)
    return Encoding(dtype=dtype, scale=scales, zero_point=(0,), axis=None if weight.axis is None else 0)


def widened_for_bias(weight: Encoding, activation: Encoding, bias: np.ndarray, *, shifts: bool = False) -> Encoding:
    """Return the weight's encoding with scales so large that the bias fits its integers.

    A channel of tiny weights with a normal bias would otherwise saturate the bias, which costs far more than
    coarser steps for those weights. With `shifts` scales stay powers of two.
    """
    if any(weight.zero_point):
        return weight  # widening would move the range; unsigned weights are never this small
    needed = np.abs(bias.astype(np.float64)) / (activation.scale[0] * LARGEST_BIAS)
    if weight.axis is None:
        needed = needed.max(initial=0.0, keepdims=True)
    scales = np.maximum(np.asarray(weight.scale), needed.reshape(-1))
    if shifts:
        scales = powers_of_two(scales)
    if np.array_equal(scales, weight.scale):
        return weight
    return weight.model_copy(update={"scale": tuple(as_float32(scale) for scale in scales)})


def widened_for_factor(
    weight: Encoding, activation: Encoding, output: Encoding, least: float, *, shifts: bool = False
) -> Encoding:
    """Return the weight's encoding with scales so large that the factor of its sums is no less than `least`.

    The factor is activation scale x weight scale / output scale: a channel for which it is tiny moves its output by
    next to nothing, however its weights are rounded. With `shifts` scales stay powers of two.
    """
    if any(weight.zero_point):
        return weight
    scales = np.maximum(np.asarray(weight.scale), least * output.scale[0] / activation.scale[0])
    if shifts:
        scales = powers_of_two(scales)
    return weight.model_copy(update={"scale": tuple(as_float32(scale) for scale in scales.tolist())})


def rounded_for_factor(weight: Encoding, activation: Encoding, output: Encoding, bits: int) -> Encoding:
    """Return the weight's encoding with scales so much larger that the factor of its sums has no more than `bits` bits.

    The factor, activation scale x weight scale / output scale, brings sums of products to the output's integers. A
    kernel that holds it in 15 bits is half a step off at the end of 16-bit integers; scales that are larger by less
    than 2 ** (1 - bits) leave nothing to be rounded.
    """
    if any(weight.zero_point):
        return weight
    to_output = activation.scale[0] / output.scale[0]
    mantissas, exponents = np.frexp(np.asarray(weight.scale) * to_output)
    scales = np.ldexp(np.ceil(mantissas * 2.0**bits) / 2.0**bits, exponents) / to_output
    return weight.model_copy(update={"scale": tuple(as_float32(scale) for scale in scales.tolist())})
