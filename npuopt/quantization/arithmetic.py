"""Integer arithmetic of QuantizeLinear and DequantizeLinear: dtype limits, scales, rounding half to even."""

from __future__ import annotations

from math import frexp, ldexp
from typing import TYPE_CHECKING, Literal

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from npuopt.quantization.encodings import Encoding

IntegerType = Literal[
    "int4", "uint4", "int8", "uint8", "int16", "uint16", "int32", "float8e4m3fn", "float8e5m2"
]  # fmt: skip
"""What QuantizeLinear makes. Floats of 8 bits are scaled like integers, and have digits where those have steps."""

STORAGE: dict[IntegerType, np.dtype] = {
    "int4": np.dtype(ml_dtypes.int4),
    "uint4": np.dtype(ml_dtypes.uint4),
    "int8": np.dtype(np.int8),
    "uint8": np.dtype(np.uint8),
    "int16": np.dtype(np.int16),
    "uint16": np.dtype(np.uint16),
    "int32": np.dtype(np.int32),
    "float8e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
"""How an array of each type is held in numpy."""

FLOAT8: dict[IntegerType, int] = {"float8e4m3fn": 448, "float8e5m2": 57344}
"""Floats of 8 bits and their greatest finite numbers (ONNX, "Float stored in 8 bits")."""

SIXTEEN_BITS: tuple[IntegerType, ...] = ("uint16", "int16")

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""Scales are float32 in ONNX; a subnormal one loses its digits, and its reciprocal overflows."""


def limits(dtype: IntegerType, distance: int | None = None) -> tuple[int, int]:
    """Return the smallest and the largest integer of `dtype`, or number of a float type.

    With `distance` integers not further from the middle.
    """
    if dtype in FLOAT8:
        return -FLOAT8[dtype], FLOAT8[dtype]
    bits = int(dtype.lstrip("uint"))
    smallest, largest = (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if distance is None:
        return smallest, largest
    zero = (smallest + largest + 1) // 2
    return max(smallest, zero - distance), min(largest, zero + distance)


def middle(dtype: IntegerType) -> int:
    """Return the integer that stands for 0.0 in a symmetric encoding: 0, or mid-range for unsigned types."""
    smallest, largest = limits(dtype)
    return (smallest + largest + 1) // 2


def as_float32(number: float) -> float:
    """Round to the nearest float32, which is what a scale is in the file."""
    return float(np.float32(number))


def power_of_two(scale: float) -> float:
    """Return the least power of two that is not below a positive `scale`: an arithmetic shift does its product."""
    mantissa, exponent = frexp(scale)
    return ldexp(1.0, exponent - (mantissa == 0.5))


def powers_of_two(scales: np.ndarray) -> np.ndarray:
    """Return what `power_of_two` returns for many scales at once."""
    mantissas, exponents = np.frexp(scales)
    return np.ldexp(1.0, exponents - (mantissas == 0.5))


def affine(
    low: float, high: float, dtype: IntegerType, *, symmetric: bool = False, shifts: bool = False
) -> tuple[float, int]:
    """Return the scale and zero point that let `dtype` cover [low, high].

    Zero is always exactly representable, as padding and ReLU need it, so the range is widened to hold it.
    Symmetric signed types use the limits -max..max, so that negation never saturates; a symmetric unsigned type
    puts zero at its middle. With `shifts` the scale is a power of two, at most twice as wide as it need be.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    smallest, largest = limits(dtype)
    if symmetric:
        zero_point = middle(dtype)
        scale = max(-low, high) / (largest - zero_point)
        return _usable(scale, shifts=shifts), zero_point
    scale = _usable((high - low) / (largest - smallest), shifts=shifts)
    zero_point = int(np.clip(np.rint(smallest - low / scale), smallest, largest))
    return scale, zero_point


def symmetric_scales(largest: np.ndarray, dtype: IntegerType, distance: int | None = None) -> np.ndarray:
    """Return the float32-valued scales that let symmetric `dtype` cover -largest..largest, one per channel.

    With `distance` integers go no further than that from zero.

    A channel of zeros takes the widest scale among the others: any scale represents it, and a tiny one would make
    the products with activation scales underflow.
    """
    top = limits(dtype, distance)[1] - middle(dtype)
    scales = (largest.astype(np.float64) / top).astype(np.float32).astype(np.float64)
    widest = float(scales.max(initial=0.0)) or 1.0 / top
    return np.where(scales < SMALLEST_SCALE, as_float32(widest), scales)


def affine_rows(
    lows: np.ndarray, highs: np.ndarray, dtype: IntegerType, *, shifts: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `affine` returns for many intervals at once; each has to hold zero."""
    smallest, largest = limits(dtype)
    scales = ((highs.astype(np.float64) - lows) / (largest - smallest)).astype(np.float32).astype(np.float64)
    scales = np.where(scales < SMALLEST_SCALE, 1.0, scales)
    if shifts:
        scales = powers_of_two(scales)
    return scales, np.clip(np.rint(smallest - lows / scales), smallest, largest).astype(np.int64)


def _usable(scale: float, *, shifts: bool) -> float:
    """Return `scale` as float32, or 1 where the range was empty; with `shifts` the power of two above it."""
    rounded = as_float32(scale)
    if rounded < SMALLEST_SCALE:
        return 1.0
    return power_of_two(rounded) if shifts else rounded


def quantize(array: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Quantize as QuantizeLinear does: divide, round half to even, add the zero point, saturate.

    Args:
        array: float array; with a per-channel encoding its shape has one scale per index of `encoding.axis`.
        encoding: scales, zero points and dtype.

    Returns:
        An array of the same shape in the dtype's storage.
    """
    scale, zero_point = _broadcast(encoding, array.ndim)
    # 32-bit integers need more digits than float32 has; up to 16 bits the runtime's own float32 is repeated.
    working = np.float64 if encoding.dtype == "int32" else np.float32
    smallest, largest = encoding.limits
    if encoding.dtype in FLOAT8:  # as with the attribute saturate, which is set unless somebody takes it away
        scaled = array.astype(np.float32, copy=False) / scale.astype(np.float32)
        return np.asarray(np.clip(scaled, smallest, largest)).astype(STORAGE[encoding.dtype])
    numbers = np.asarray(array.astype(working, copy=False) / scale.astype(working))
    np.rint(numbers, out=numbers)  # in place, as weights are large
    if zero_point.any():
        numbers += zero_point.astype(working)
    np.clip(numbers, smallest, largest, out=numbers)
    return numbers.astype(STORAGE[encoding.dtype])


def dequantize(array: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Return (array - zero point) * scale as float32."""
    scale, zero_point = _broadcast(encoding, array.ndim)
    if encoding.dtype in FLOAT8:
        return (array.astype(np.float32) * scale).astype(np.float32)
    return ((array.astype(np.int64) - zero_point) * scale).astype(np.float32)


def saturation(array: np.ndarray, encoding: Encoding) -> float:
    """Return the share of elements (0..1) that lie outside what the encoding can represent.

    Half a step beyond the last representable number still rounds to it and does not count.
    """
    if not array.size:
        return 0.0
    low, high = representable(encoding, array.ndim)
    return float(np.count_nonzero((array < low) | (array > high)) / array.size)


def representable(encoding: Encoding, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of what rounds to a representable number, shaped for tensors of a rank."""
    scale, zero_point = _broadcast(encoding, rank)
    smallest, largest = encoding.limits
    return (smallest - zero_point - 0.5) * scale, (largest - zero_point + 0.5) * scale


def _broadcast(encoding: Encoding, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Shape scales (float64) and zero points (int64) so that they line up with the encoding's axis."""
    scale = np.asarray(encoding.scale, dtype=np.float64)
    zero_point = np.asarray(encoding.zero_point, dtype=np.int64)
    if encoding.axis is None:
        return scale.reshape(()), zero_point.reshape(())
    shape = [1] * rank
    shape[encoding.axis] = scale.size
    return scale.reshape(shape), zero_point.reshape(shape if zero_point.size > 1 else ())
