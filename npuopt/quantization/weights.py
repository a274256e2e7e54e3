"""Encodings of constants: weights by channel, biases in the accumulator's own scale, other constants as activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import constant, is_op
from npuopt.quantization.arithmetic import SMALLEST_SCALE, affine, as_float32, limits, symmetric_scales
from npuopt.quantization.encodings import Encoding, per_tensor
from npuopt.quantization.roles import is_depthwise

if TYPE_CHECKING:
    from npuopt.graph import Value
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.wishes import Wishes

SIXTEEN_BITS: tuple[IntegerType, ...] = ("uint16", "int16")

NORMALIZATIONS = ("GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization")

LARGEST_BIAS = 2**30
"""Biases keep to half of int32: the accumulator that starts with one needs room for the sum of products."""


LARGEST_FITTED = 127
"""Types with more numbers than 8 bits hold weights so well that no search for a scale is worth its time."""

FEWEST_FITTED = 64
"""Channels with fewer weights keep their range: cutting one of nine is no noise that averages out. Measured on
EfficientNet-Lite0: 0.8 dB lost at the logits when depthwise filters are fitted too."""

SHARES, LEAST_SHARE = 17, 0.8
"""How many scales are tried, down to which share of the one that covers all weights. Measured on tiny_llama at a8w8:
perplexity +1.44 % with 0.8, +1.61 % with 0.6."""

FITTED_AT_ONCE = 2**20
"""Weights that are looked at at a time, so that the search takes little memory."""


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

    @property
    def is_signed(self) -> bool:
        """Say whether zero is at 0 of a signed type."""
        return self.symmetric and limits(self.dtype)[0] < 0

    @classmethod
    def of(cls, wish: Wishes, *, wide: bool = False) -> WeightFormat:
        """Return the scheme's format with the op's own wishes.

        Where few weights decide over much (normalizations, depthwise filters), 16 bits are taken beside 16-bit
        activations if the target has them: they cost next to no memory, and one scale then does for all channels.

        Args:
            wish: what the node wants.
            wide: take 16 bits, where they are to be had, for any weights.
        """
        scheme, wants = wish.scheme, wish.rule
        symmetric = scheme.weight_symmetric if wants.weight_symmetric is None else wants.weight_symmetric
        dtype = cast("IntegerType", wants.weight or scheme.weight or scheme.activation)
        decides_much = is_depthwise(wish.node) or is_op(wish.node, *NORMALIZATIONS)
        taken = "int16" in wants.weight_types.get(wish.scheme_name, ())
        if wish.activation in SIXTEEN_BITS and (wide or decides_much) and taken:
            return cls("int16", symmetric=True, by_channel=False)
        return cls(dtype, symmetric, (wants.weight_axis or scheme.weight_axis) == "channel")


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
        if held.is_signed:
            scales = fitted_scales(array.reshape(1, -1), held.dtype)
            return per_tensor(held.dtype, float(scales[0]), 0)
        return per_tensor(held.dtype, *affine(low, high, held.dtype, symmetric=held.symmetric))
    rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
    if held.is_signed:
        scales = fitted_scales(rows, held.dtype)
        return Encoding(dtype=held.dtype, scale=tuple(scales.tolist()), zero_point=(0,), axis=axis)
    pairs = [
        affine(float(row.min(initial=0.0)), float(row.max(initial=0.0)), held.dtype, symmetric=held.symmetric)
        for row in rows
    ]
    return Encoding(
        dtype=held.dtype,
        scale=tuple(scale for scale, _ in pairs),
        zero_point=tuple(zero_point for _, zero_point in pairs),
        axis=axis,
    )


def fitted_scales(rows: np.ndarray, dtype: IntegerType) -> np.ndarray:
    """Return, for each row, the scale with the least squared error among those that cover its range or part of it.

    Cutting off the largest weights is worth it where that makes the steps of all others finer.

    Args:
        rows: weights, one channel a row.
        dtype: a signed integer type; zero is at 0.
    """
    smallest, largest = limits(dtype)
    widest = symmetric_scales(np.abs(rows).max(axis=1, initial=0.0), dtype)
    if largest > LARGEST_FITTED or rows.shape[1] < FEWEST_FITTED:
        return widest
    best = widest.copy()
    step = max(1, FITTED_AT_ONCE // max(rows.shape[1], 1))
    for start in range(0, len(rows), step):
        part = rows[start : start + step].astype(np.float32)
        least = np.full(len(part), np.inf)
        for share in np.linspace(1.0, LEAST_SHARE, SHARES):
            scale = (widest[start : start + step] * share).astype(np.float32)[:, None]
            error = np.clip(np.rint(part / scale), smallest, largest) * scale - part
            squares = np.einsum("re,re->r", error, error)
            better = squares < least
            least[better] = squares[better]
            best[start : start + step][better] = scale[better, 0]
    return best


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
