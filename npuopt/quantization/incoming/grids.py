"""Constants that were integers once: the scale on which all their numbers lie, found from the numbers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.quantization.arithmetic import SMALLEST_SCALE, limits
from npuopt.quantization.encodings import Encoding

if TYPE_CHECKING:
    from npuopt.quantization.arithmetic import IntegerType

TOLERANCE = 2e-3
"""Steps that a number may lie beside the grid: float32 leaves 127 steps, scaled twice, no further off than 1e-4."""

FIRST_LOOK = 64
"""Numbers of a channel that every candidate is held against before all are."""


def grid_of(array: np.ndarray, dtype: IntegerType, axis: int | None) -> Encoding | None:
    """Return the symmetric encoding that holds a constant without loss, or None where there is none.

    So the integers of a weight are found again after a rewrite has transposed it or folded a scale into it. Of
    several grids each channel gets the coarsest.

    Args:
        array: the constant.
        dtype: a signed type of at most 8 bits; wider ones have more grids than can be tried.
        axis: the axis with a scale for each index; None for one scale for all.
    """
    smallest, largest = limits(dtype)
    if smallest == 0 or largest > limits("int8")[1] or not np.isfinite(array).all():
        return None
    rows = array.reshape(1, -1) if axis is None else np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
    scales = [_step(row.astype(np.float64), smallest, largest) for row in rows]
    found = [scale for scale in scales if scale is not None]
    if len(found) < len(scales):
        return None
    widest = max(found, default=0.0) or 1.0
    steps = tuple(float(np.float32(scale or widest)) for scale in found)  # a channel of zeros lies on any grid
    return Encoding(dtype=dtype, scale=steps, zero_point=(0,), axis=axis)


def _step(row: np.ndarray, smallest: int, largest: int) -> float | None:
    """Return the coarsest step that all numbers are multiples of, 0 where all are zero, None where there is none."""
    peak = row[np.argmax(np.abs(row))] if row.size else 0.0
    if abs(peak) < SMALLEST_SCALE * largest:
        return 0.0 if not np.abs(row).max(initial=0.0) else None
    candidates = abs(peak) / np.arange(1, (-smallest if peak < 0 else largest) + 1)
    few = np.abs(row[:: max(1, row.size // FIRST_LOOK)])
    multiples = few / candidates[:, None]
    near = (np.abs(multiples - np.rint(multiples)) < TOLERANCE).all(axis=1)
    for scale in candidates[near]:
        integers = np.rint(row / scale)
        if np.abs(row / scale - integers).max() < TOLERANCE and smallest <= integers.min() <= integers.max() <= largest:
            return float(integers @ row / (integers @ integers))
    return None
