"""Encodings of constants: weights by channel, biases in the accumulator's own scale, other constants as activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import constant
from npuopt.quantization.arithmetic import SMALLEST_SCALE, affine, as_float32, limits, symmetric_scales
from npuopt.quantization.encodings import Encoding, per_tensor

if TYPE_CHECKING:
    from npuopt.graph import Value
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.target.schema import OpQuantization, Scheme

LARGEST_BIAS = 2**30
"""Biases keep to half of int32: the accumulator that starts with one needs room for the sum of products."""


@dataclass(frozen=True)
class WeightFormat:
    """How weights are held.

    Attributes:
        dtype: integer type.
        symmetric: zero point 0, or mid-range for unsigned types.
        by_channel: one scale for each channel.
    """

    dtype: IntegerType
    symmetric: bool
    by_channel: bool

    @classmethod
    def of(cls, scheme: Scheme, wants: OpQuantization) -> WeightFormat:
        """Return the scheme's format with the op's own wishes."""
        symmetric = scheme.weight_symmetric if wants.weight_symmetric is None else wants.weight_symmetric
        dtype = wants.weight or scheme.weight or scheme.activation
        return cls(cast("IntegerType", dtype), symmetric, (wants.weight_axis or scheme.weight_axis) == "channel")


def numbers(value: Value) -> np.ndarray:
    """Return a float constant's numbers as float32 (float64 stays).

    Raises:
        InputError: when there is NaN or infinity among them.
    """
    array = cast("np.ndarray", constant(value))
    if array.dtype.itemsize < np.dtype(np.float32).itemsize:
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError("the constant holds NaN or infinity and cannot be quantized", where=value.name or "")
    return array


def weight_encoding(array: np.ndarray, held: WeightFormat, axis: int | None) -> Encoding:
    """Return the encoding that covers all of the weight.

    Args:
        array: the weight.
        held: type and symmetry.
        axis: the channel axis; used when `held` is by channel.
    """
    if axis is None or not held.by_channel:
        low, high = float(array.min(initial=0.0)), float(array.max(initial=0.0))
        return per_tensor(held.dtype, *affine(low, high, held.dtype, symmetric=held.symmetric))
    others = tuple(other for other in range(array.ndim) if other != axis)
    low, high = array.min(axis=others, initial=0.0), array.max(axis=others, initial=0.0)
    if held.symmetric and limits(held.dtype)[0] < 0:
        scales = symmetric_scales(np.maximum(-low, high), held.dtype)
        return Encoding(dtype=held.dtype, scale=tuple(scales.tolist()), zero_point=(0,), axis=axis)
    pairs = [
        affine(float(least), float(most), held.dtype, symmetric=held.symmetric)
        for least, most in zip(low, high, strict=True)
    ]
    return Encoding(
        dtype=held.dtype,
        scale=tuple(scale for scale, _ in pairs),
        zero_point=tuple(zero_point for _, zero_point in pairs),
        axis=axis,
    )


def bias_encoding(weight: Encoding, activation: Encoding, dtype: IntegerType) -> Encoding:
    """Return the encoding of a bias that is added to sums of activation x weight: the product of their scales."""
    scales = tuple(max(as_float32(activation.scale[0] * scale), SMALLEST_SCALE) for scale in weight.scale)
    return Encoding(dtype=dtype, scale=scales, zero_point=(0,), axis=None if weight.axis is None else 0)


def widened_for_bias(weight: Encoding, activation: Encoding, bias: np.ndarray) -> Encoding:
    """Return the weight's encoding with scales so large that the bias fits its integers.

    A channel of tiny weights with a normal bias would otherwise saturate the bias, which costs far more than
    coarser steps for those weights.
    """
    if any(weight.zero_point):
        return weight  # widening would move the range; unsigned weights are never this small
    needed = np.abs(bias.astype(np.float64)) / (activation.scale[0] * LARGEST_BIAS)
    if weight.axis is None:
        needed = needed.max(initial=0.0, keepdims=True)
    scales = np.maximum(np.asarray(weight.scale), needed.reshape(-1))
    if np.array_equal(scales, weight.scale):
        return weight
    return weight.model_copy(update={"scale": tuple(as_float32(scale) for scale in scales)})


def constant_encoding(array: np.ndarray, dtype: IntegerType, *, symmetric: bool) -> Encoding:
    """Return the encoding of a constant that is read as an activation."""
    low, high = float(array.min(initial=0.0)), float(array.max(initial=0.0))
    return per_tensor(dtype, *affine(low, high, dtype, symmetric=symmetric))
