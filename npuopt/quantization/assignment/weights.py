"""Encodings of constants: weights by channel, biases in the accumulator's own scale, other constants as activations."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, cast

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import constant, is_op
from npuopt.quantization.arithmetic import (
    SIXTEEN_BITS,
    affine,
    affine_rows,
    limits,
    middle,
    powers_of_two,
    symmetric_scales,
)
from npuopt.quantization.encodings import Encoding, per_tensor
from npuopt.quantization.roles import is_depthwise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.graph import Value
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.assignment.wishes import Wishes
    from npuopt.target.schema import Scheme


NORMALIZATIONS = ("GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization")

LARGEST_FITTED = 127
"""Types with more numbers than 8 bits hold weights so well that no search for a scale is worth its time."""

FEWEST_FITTED = 64
"""Channels with fewer weights keep their range: cutting one of nine is no noise that averages out. Measured on
EfficientNet-Lite0: 0.8 dB lost at the logits when depthwise filters are fitted too."""

SHARES, LEAST_SHARE = 17, 0.8
"""How many scales are tried, down to which share of the one that covers all weights. Measured on tiny_llama at a8w8:
perplexity +1.44 % with 0.8, +1.61 % with 0.6."""

ENDS = 5
"""How many places are tried for each end of an interval that need not have zero in its middle."""

FITTED_AT_ONCE = 2**17
"""Weights that are looked at at a time, so that they stay in the processor's cache while their error is computed."""


@dataclass(frozen=True)
class WeightFormat:
    """How weights are held.

    Attributes:
        dtype: integer type.
        symmetric: zero point 0, or mid-range for unsigned types.
        by_channel: one scale for each channel.
        shifts: scales are powers of two.
        largest: magnitude up to which numbers go, where that is less than the type has.
        whole: cover the whole range, so that integers stay small.
    """

    dtype: IntegerType
    symmetric: bool
    by_channel: bool
    shifts: bool = False
    largest: int | None = None
    whole: bool = False

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
            return cls("int16", symmetric=True, by_channel=False, shifts=scheme.power_of_two)
        by_channel = (wants.weight_axis or scheme.weight_axis) == "channel"
        return cls(
            dtype, symmetric, by_channel, scheme.power_of_two, scheme.weight_largest, whole=scheme.weight_compressed
        )


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
    axis = axis if held.by_channel else None
    rows = array.reshape(1, -1) if axis is None else np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
    if held.symmetric:
        scales = fitted_scales(rows, held.dtype, shifts=held.shifts, distance=held.largest, whole=held.whole)
        zero_points = np.full(1, middle(held.dtype))
    else:
        scales, zero_points = fitted_intervals(rows, held.dtype, shifts=held.shifts)
    return Encoding(
        dtype=held.dtype,
        scale=tuple(scales.tolist()),
        zero_point=tuple(zero_points.tolist()),
        axis=axis,
        largest=held.largest if held.symmetric else None,
    )


def fitted_scales(
    rows: np.ndarray, dtype: IntegerType, *, shifts: bool = False, distance: int | None = None, whole: bool = False
) -> np.ndarray:
    """Return, for each row, the scale with the least squared error among those that cover its range or part of it.

    Cutting off the largest weights is worth it where that makes the steps of all others finer.

    Args:
        rows: weights, one channel a row.
        dtype: an integer type with zero at its middle.
        shifts: scales are powers of two, of which the two next to the range are tried.
        distance: of integers from zero at most, where that is less than the type has.
        whole: cover the whole range.
    """
    smallest, largest = (limit - middle(dtype) for limit in limits(dtype, distance))
    ends = np.stack((rows.min(axis=1, initial=0.0), rows.max(axis=1, initial=0.0)), axis=1)
    widest = symmetric_scales(np.abs(ends).max(axis=1), dtype, distance)
    shares = np.linspace(1.0, LEAST_SHARE, SHARES)
    if shifts:
        widest, shares = powers_of_two(widest), np.array([1.0, 0.5])
    if whole or not _is_fitted(rows, dtype):
        return widest
    best = widest.copy()
    scales = (widest * shares[:, None]).astype(np.float32)
    bounds = np.square(_errors(ends.astype(np.float32), scales[:, :, None], smallest, largest)).max(axis=2)
    for part, within in _portions(rows):
        chosen, least = best[within], np.full(len(part), np.inf)
        for scale, bound in zip(scales[:, within], bounds[:, within], strict=True):
            wanted = np.flatnonzero(bound < least)  # however it is rounded, a sum is no less than one of its squares
            if not wanted.size:
                continue
            tried = part if wanted.size == len(part) else part[wanted]
            squares = _squared_error(tried, scale[wanted], smallest, largest)
            better = squares < least[wanted]
            least[wanted[better]] = squares[better]
            chosen[wanted[better]] = scale[wanted[better]]
    return best


def fitted_intervals(rows: np.ndarray, dtype: IntegerType, *, shifts: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each row, the scale and zero point with the least squared error, each end cut off on its own.

    Args:
        rows: weights, one channel a row.
        dtype: an integer type, zero anywhere in it.
        shifts: scales are powers of two.
    """
    smallest, largest = limits(dtype)
    scales, points = affine_rows(rows.min(axis=1, initial=0.0), rows.max(axis=1, initial=0.0), dtype, shifts=shifts)
    if not _is_fitted(rows, dtype):
        return scales, points
    shares = np.linspace(1.0, LEAST_SHARE, ENDS)
    best = np.stack((scales, points), axis=1)
    for part, within in _portions(rows):
        chosen = best[within]
        low, high = part.min(axis=1, initial=0.0), part.max(axis=1, initial=0.0)
        least = np.full(len(part), np.inf)
        for low_share, high_share in product(shares, shares):
            scale, point = affine_rows(low * low_share, high * high_share, dtype, shifts=shifts)
            offset = point[:, None]
            squares = _squared_error(part, scale.astype(np.float32), smallest - offset, largest - offset)
            better = squares < least
            least[better] = squares[better]
            chosen[better] = np.stack((scale, point), axis=1)[better]
    return best[:, 0], best[:, 1].astype(np.int64)


def _is_fitted(rows: np.ndarray, dtype: IntegerType) -> bool:
    """Say whether it is worth looking for an interval narrower than all weights."""
    return limits(dtype)[1] - middle(dtype) <= LARGEST_FITTED and rows.shape[1] >= FEWEST_FITTED


def _portions(rows: np.ndarray) -> Iterator[tuple[np.ndarray, slice]]:
    """Yield rows in portions of `FITTED_AT_ONCE` weights, and where they are among all rows."""
    step = max(1, FITTED_AT_ONCE // max(rows.shape[1], 1))
    for start in range(0, len(rows), step):
        within = slice(start, start + step)
        yield rows[within].astype(np.float32, copy=False), within


def _squared_error(
    part: np.ndarray, scale: np.ndarray, smallest: np.ndarray | int, largest: np.ndarray | int
) -> np.ndarray:
    """Return each row's squared error when it is held in integers between the bounds, which are relative to zero.

    A long row is looked at in portions, whose sums are added in float64: float32 has no room for millions of squares.
    """
    squares = np.zeros(len(part))
    for start in range(0, part.shape[1], FITTED_AT_ONCE):
        errors = _errors(part[:, start : start + FITTED_AT_ONCE], scale[:, None], smallest, largest)
        squares += np.einsum("re,re->r", errors, errors)
    return squares


def _errors(part: np.ndarray, scales: np.ndarray, smallest: np.ndarray | int, largest: np.ndarray | int) -> np.ndarray:
    """Return the error of each number when it is held in integers between the bounds, which are relative to zero."""
    errors = part / scales
    np.clip(np.rint(errors, out=errors), smallest, largest, out=errors)  # in place: it runs for every scale tried
    errors *= scales
    errors -= part
    return errors


def constant_encoding(array: np.ndarray, dtype: IntegerType, scheme: Scheme) -> Encoding:
    """Return the encoding of a constant that is read as an activation."""
    low, high = float(array.min(initial=0.0)), float(array.max(initial=0.0))
    symmetric, shifts = scheme.activation_symmetric, scheme.power_of_two
    return per_tensor(dtype, *affine(low, high, dtype, symmetric=symmetric, shifts=shifts))
