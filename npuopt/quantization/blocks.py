"""Weights in blocks that share a scale: integers, scales and zero points without data, or with what data says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from npuopt.errors import InputError
from npuopt.quantization.arithmetic import IntegerType, limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Array = NDArray[Any]

Rounding: TypeAlias = Literal["nearest", "least-squares", "half-quadratic"]

AT_ONCE = 2**18
"""Weights that are looked at at a time: what a search keeps of them stays in the processor's cache."""

SHARES = tuple(np.linspace(1.0, 0.7, 7).tolist())
"""Shares of a block's range that a search for its scale covers; twice as many gain 0.01 dB."""

NORM, PENALTY, GROWTH, ROUNDS = 0.7, 10.0, 1.01, 20
"""Half-quadratic rounding: the norm of errors, the weight of its second term, what that grows by, how often.
As in Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models" (2023), with errors in steps."""


@dataclass(frozen=True)
class BlockFormat:
    """How weights are held in blocks.

    Attributes:
        dtype: int4, uint4, int8 or uint8.
        block: neighbouring features of one channel that share a scale; None: all of them.
        symmetric: zero lies at 0 (or mid-range, if unsigned), so that no block has a zero point of its own.
    """

    dtype: IntegerType
    block: int | None = None
    symmetric: bool = True

    @property
    def middle(self) -> int:
        """The integer that stands for 0.0 in a symmetric block."""
        smallest, largest = limits(self.dtype)
        return (smallest + largest + 1) // 2

    def blocks(self, features: int) -> int:
        """Return how many blocks so many features make; the last may have fewer."""
        return 1 if self.block is None else -(-features // self.block)


class Blocks(NamedTuple):
    """Weights as integers.

    Attributes:
        integers: [channels, features], in int8 or uint8 whatever the width.
        scales: [channels, blocks], numbers of the type that was asked for, held in float32.
        zero_points: [channels, blocks], as integers are; None where all are `BlockFormat.middle`.
    """

    integers: Array
    scales: Array
    zero_points: Array | None


def round_blocks(
    rows: Array,
    held: BlockFormat,
    second_moments: Array | None = None,
    *,
    method: Rounding = "least-squares",
    scale_type: np.dtype[Any] | None = None,
) -> Blocks:
    """Choose scales and zero points for each block, and round to the nearest.

    Each channel is rounded alone, so that rows may be handed in parts.

    Args:
        rows: float weights, [channels, features]; may be mapped, and are read in parts.
        held: type, block and symmetry.
        second_moments: mean products of the features that the weights meet, [features, features]. Their diagonal
            says what an error at a feature costs; None: the same everywhere.
        method: `nearest` covers each block's range; `least-squares` searches the scale with the least squared error;
            `half-quadratic` one with the least error in a norm that forgives outliers, and needs no data.
        scale_type: float type that the scales are to be rounded to; float32 when None.

    Raises:
        InputError: when a weight is NaN or infinite.
    """
    channels, features = rows.shape
    count = held.blocks(features)
    size = max(features if held.block is None else held.block, 1)
    kind = np.uint8 if held.dtype.startswith("u") else np.int8
    integers = np.empty((channels, features), kind)
    scales = np.empty((channels, count), np.float32)
    zero_points = None if held.symmetric else np.empty((channels, count), kind)
    costs = _costs(second_moments, features, count * size)
    for part in _parts(channels, count * size):
        weights = _in_blocks(rows[part], count * size).reshape(-1, count, size)
        chosen = _Search(weights, held, costs.reshape(1, count, size), np.dtype(scale_type or np.float32)).by(method)
        integers[part] = chosen.integers.reshape(-1, count * size)[:, :features]
        scales[part] = chosen.scales[..., 0]
        if zero_points is not None:
            zero_points[part] = chosen.zero_points[..., 0]
    return Blocks(integers, scales, zero_points)


def block_values(blocks: Blocks, held: BlockFormat) -> Array:
    """Return the real numbers that blocks stand for, [channels, features] in float32."""
    features = blocks.integers.shape[1]
    repeat = features if held.block is None else held.block
    zero_points = held.middle if blocks.zero_points is None else _each(blocks.zero_points, repeat, features)
    return (blocks.integers.astype(np.float32) - zero_points) * _each(blocks.scales, repeat, features)


def _each(numbers: Array, repeat: int, features: int) -> Array:
    """Return a number of each block for each of its features."""
    return np.repeat(numbers.astype(np.float32), max(repeat, 1), axis=1)[:, :features]


def _parts(channels: int, width: int) -> Iterator[slice]:
    step = max(1, AT_ONCE // max(width, 1))
    return (slice(start, start + step) for start in range(0, channels, step))


def _in_blocks(rows: Array, width: int) -> Array:
    """Return rows in float32, filled up with zeros to `width`.

    Raises:
        InputError: when there is NaN or infinity among them.
    """
    weights = np.zeros((len(rows), width), np.float32)
    weights[:, : rows.shape[1]] = rows
    if not np.isfinite(weights).all():
        raise InputError("the weight holds NaN or infinity and cannot be quantized")
    return weights


def _costs(second_moments: Array | None, features: int, width: int) -> Array:
    """Return what the square of an error costs at each feature; nothing where there is none."""
    costs = np.zeros(width, np.float32)
    costs[:features] = 1.0
    if second_moments is not None:
        diagonal = np.diagonal(second_moments).astype(np.float64)
        mean = float(diagonal.mean()) if diagonal.size else 0.0
        if np.isfinite(mean) and mean > 0:
            # A share of the mean everywhere: features that calibration never saw are not free to be wrong.
            costs[:features] = diagonal / mean + 0.01
    return costs


class _Choice(NamedTuple):
    """Integers with their scales and zero points, for [channels, blocks, features of a block]."""

    integers: Array
    scales: Array
    zero_points: Array


class _Search:
    """Looks for the scales of some blocks."""

    def __init__(self, weights: Array, held: BlockFormat, costs: Array, scale_type: np.dtype[Any]) -> None:
        self._weights = weights
        self._held = held
        self._costs = costs
        self._scale_type = scale_type
        self._smallest, self._largest = limits(held.dtype)

    def by(self, method: Rounding) -> _Choice:
        """Return the integers that `method` finds."""
        if method == "nearest":
            return self._round(*self._covering(1.0))
        return self._half_quadratic() if method == "half-quadratic" else self._least_squares()

    def _covering(self, share: float) -> tuple[Array, Array]:
        """Return scales and zero points that cover this share of each block's range."""
        if self._held.symmetric:
            top = self._largest - self._held.middle
            scales = np.abs(self._weights).max(axis=-1, keepdims=True) * np.float32(share / top)
            return scales, np.full_like(scales, self._held.middle)
        low = np.minimum(self._weights.min(axis=-1, keepdims=True), 0) * np.float32(share)
        high = np.maximum(self._weights.max(axis=-1, keepdims=True), 0) * np.float32(share)
        scales = self._usable((high - low) / np.float32(self._largest - self._smallest))
        zero_points = np.clip(np.rint(self._smallest - low / scales), self._smallest, self._largest)
        return scales, zero_points

    def _usable(self, scales: Array) -> Array:
        """Round scales to their type; blocks of zeros, and of numbers too small for it, get 1."""
        rounded = scales.astype(self._scale_type).astype(np.float32)
        return np.where(np.isfinite(rounded) & (rounded >= self._least_scale()), rounded, np.float32(1.0))

    def _least_scale(self) -> np.float32:
        is_half = self._scale_type == np.float16
        return np.float32(np.finfo(np.float16).smallest_subnormal if is_half else np.finfo(np.float32).tiny)

    def _round(self, scales: Array, zero_points: Array) -> _Choice:
        scales = self._usable(scales)
        integers = np.rint(self._weights / scales)
        integers += zero_points
        np.clip(integers, self._smallest, self._largest, out=integers)
        return _Choice(integers, scales, zero_points)

    def _error(self, choice: _Choice) -> Array:
        return (choice.integers - choice.zero_points) * choice.scales - self._weights

    def _squares(self, choice: _Choice) -> Array:
        error = self._error(choice)
        error *= error
        return (error * self._costs).sum(axis=-1, keepdims=True)

    def _norm(self, choice: _Choice) -> Array:
        return (np.abs(self._error(choice)) ** NORM * self._costs).sum(axis=-1, keepdims=True)

    def _least_squares(self) -> _Choice:
        """Try scales that cut off part of the range, each with the scale that fits its integers best after it."""
        best = self._round(*self._covering(1.0))
        least = self._squares(best)
        for share in SHARES:
            for candidate in self._with_refit(*self._covering(share)):
                best, least = _better(best, least, candidate, self._squares)
        return best

    def _with_refit(self, scales: Array, zero_points: Array) -> Iterator[_Choice]:
        first = self._round(scales, zero_points)
        yield first
        yield self._round(self._fitting(first, self._weights), zero_points)

    def _fitting(self, choice: _Choice, weights: Array) -> Array:
        """Return the scales with the least squared error for given integers."""
        steps = choice.integers - choice.zero_points
        weighted = steps * self._costs
        below = (weighted * steps).sum(axis=-1, keepdims=True)
        above = (weighted * weights).sum(axis=-1, keepdims=True)
        return np.where((below > 0) & (above > 0), above / np.maximum(below, np.float32(1e-30)), choice.scales)

    def _half_quadratic(self) -> _Choice:
        """Alternate between excusing the largest errors and fitting the scales to what is left."""
        best = current = self._round(*self._covering(1.0))
        least, penalty = self._norm(best), PENALTY
        for _ in range(ROUNDS):
            error = self._error(current) / current.scales
            size = np.maximum(np.abs(error), np.float32(1e-6))
            excused = np.sign(error) * np.maximum(size - size ** (NORM - 1) / penalty, 0)
            wanted = self._weights + excused * current.scales
            current = self._round(self._fitting(current, wanted), self._zero_points(current, wanted))
            best, least = _better(best, least, current, self._norm)
            penalty *= GROWTH
        return best

    def _zero_points(self, choice: _Choice, weights: Array) -> Array:
        """Return the zero points with the least squared error for given integers and scales."""
        if self._held.symmetric:
            return choice.zero_points
        total = np.maximum(self._costs.sum(axis=-1, keepdims=True), np.float32(1e-30))
        mean = ((choice.integers - weights / choice.scales) * self._costs).sum(axis=-1, keepdims=True) / total
        return np.clip(np.rint(mean), self._smallest, self._largest)


def _better(best: _Choice, least: Array, other: _Choice, measure: Callable[[_Choice], Array]) -> tuple[_Choice, Array]:
    """Return, block by block, the one of two choices that measures less."""
    measured = measure(other)
    wins = measured < least
    return _Choice(*(np.where(wins, new, old) for new, old in zip(other, best, strict=True))), np.where(
        wins, measured, least
    )
