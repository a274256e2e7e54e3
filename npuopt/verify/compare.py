"""Compares tensors the way the quantization literature does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Comparison:
    """How close a tensor is to its reference.

    Attributes:
        cosine: cosine of the angle between both, flattened; 1.0 when both are zero.
        sqnr_db: signal-to-quantization-noise ratio, 10 log10(sum(ref^2) / sum((ref - got)^2)); inf when equal.
        max_abs: largest absolute difference.
        max_relative: largest absolute difference over the largest absolute reference value.
        elements: how many values were compared.
        other_size: samples that are left out, as their output has another size than in the reference: what data sizes,
            such as the boxes that NonMaxSuppression keeps.
    """

    cosine: float
    sqnr_db: float
    max_abs: float
    max_relative: float
    elements: int
    other_size: int = 0


BLOCK = 1 << 18
"""Elements that are compared at a time: in float64 they and what is computed of them stay in the processor's cache."""


class _Sums:
    """What is known of all the numbers compared so far."""

    def __init__(self) -> None:
        self._signal = self._power = self._product = self._noise = 0.0
        self._largest = self._max_abs = 0.0
        self._elements = self._other_size = 0
        self._is_finite = True

    def add(self, reference: np.ndarray, got: np.ndarray) -> None:
        """Compare one more pair of tensors.

        Raises:
            ValueError: when the shapes differ.
        """
        if reference.shape != got.shape:
            raise ValueError(f"shapes differ: {reference.shape} and {got.shape}")
        left, right = reference.reshape(-1), got.reshape(-1)
        for start in range(0, left.size, BLOCK):
            end = start + BLOCK
            self._add_block(left[start:end].astype(np.float64), right[start:end].astype(np.float64))
        self._elements += left.size

    def leave_out(self) -> None:
        """Count a sample whose output has another size."""
        self._other_size += 1

    def _add_block(self, left: np.ndarray, right: np.ndarray) -> None:
        finite = np.isfinite(left) & np.isfinite(right)
        if not finite.all():
            odd_left, odd_right = left[~finite], right[~finite]
            same = (odd_left == odd_right) | (np.isnan(odd_left) & np.isnan(odd_right))
            self._is_finite = self._is_finite and bool(same.all())
            left, right = left[finite], right[finite]
        difference = left - right
        self._signal += float(left @ left)
        self._power += float(right @ right)
        self._product += float(left @ right)
        self._noise += float(difference @ difference)
        self._largest = max(self._largest, float(np.abs(left).max(initial=0.0)))
        self._max_abs = max(self._max_abs, float(np.abs(difference).max(initial=0.0)))

    def result(self) -> Comparison:
        """Return how close all of it is."""
        if not self._is_finite or (self._other_size and not self._elements):
            nothing = (float("nan"), float("-inf"), float("inf"), float("inf"))
            return Comparison(*nothing, self._elements, self._other_size)
        signal, noise, largest = self._signal, self._noise, self._largest
        norms = np.sqrt(signal) * np.sqrt(self._power)
        cosine = float(self._product / norms) if norms > 0 else float(signal == noise)
        if noise > 0 and signal > 0:
            sqnr = float(10 * np.log10(signal / noise))
        else:
            sqnr = float("inf" if noise == 0 else "-inf")
        relative = self._max_abs / largest if largest else self._max_abs
        return Comparison(cosine, sqnr, self._max_abs, relative, self._elements, self._other_size)


def compare(reference: np.ndarray, got: np.ndarray) -> Comparison:
    """Compare one tensor with its reference. NaN is equal to NaN, infinity to the same infinity.

    Raises:
        ValueError: when the shapes differ.
    """
    sums = _Sums()
    sums.add(reference, got)
    return sums.result()


def compare_runs(
    reference: Sequence[Mapping[str, np.ndarray]], got: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, Comparison]:
    """Compare the outputs of several runs; each output's samples are taken as one long vector.

    Samples whose output has another size are counted and left out.
    """
    if not reference:
        return {}
    compared: dict[str, Comparison] = {}
    for name in reference[0]:
        if name in got[0]:
            sums = _Sums()
            for expected, made in zip(reference, got, strict=True):
                if expected[name].size == made[name].size:
                    sums.add(expected[name].reshape(-1), made[name].reshape(-1))
                else:
                    sums.leave_out()
            compared[name] = sums.result()
    return compared
