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
    """

    cosine: float
    sqnr_db: float
    max_abs: float
    max_relative: float
    elements: int


def compare(reference: np.ndarray, got: np.ndarray) -> Comparison:
    """Compare one tensor with its reference. NaN is equal to NaN, infinity to the same infinity.

    Raises:
        ValueError: when the shapes differ.
    """
    if reference.shape != got.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {got.shape}")
    left, right = reference.astype(np.float64).reshape(-1), got.astype(np.float64).reshape(-1)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    if not np.all(np.isfinite(left[~same])) or not np.all(np.isfinite(right[~same])):
        return Comparison(float("nan"), float("-inf"), float("inf"), float("inf"), left.size)
    left, right = np.where(np.isfinite(left), left, 0.0), np.where(np.isfinite(right), right, 0.0)
    difference = left - right
    signal, noise = float(left @ left), float(difference @ difference)
    norms = np.sqrt(signal) * np.sqrt(float(right @ right))
    cosine = float(left @ right) / norms if norms > 0 else float(signal == noise)
    with np.errstate(divide="ignore"):
        sqnr = (
            float(10 * np.log10(signal / noise)) if noise > 0 and signal > 0 else float("inf" if noise == 0 else "-inf")
        )
    largest = float(np.abs(left).max(initial=0.0))
    max_abs = float(np.abs(difference).max(initial=0.0))
    return Comparison(cosine, sqnr, max_abs, max_abs / largest if largest else max_abs, left.size)


def compare_runs(
    reference: Sequence[Mapping[str, np.ndarray]], got: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, Comparison]:
    """Compare the outputs of several runs; each output's samples are taken as one long vector."""
    if not reference:
        return {}
    return {
        name: compare(
            np.concatenate([run[name].reshape(-1) for run in reference]),
            np.concatenate([run[name].reshape(-1) for run in got]),
        )
        for name in reference[0]
        if name in got[0]
    }
