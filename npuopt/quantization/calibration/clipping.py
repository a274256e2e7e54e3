"""How much of a histogram an integer type should cover: what is cut off saturates, and makes all other steps finer.

Every interval holds zero, as encodings do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from npuopt.quantization.calibration.histograms import Histogram

    Interval = tuple[float, float]

SHARES = np.concatenate((np.linspace(1.0, 0.1, 91), np.geomspace(0.09, 0.002, 24)))
"""Which parts of the whole range are tried at each end, in falling order: the last ones for lone huge numbers."""

FEW_SHARES = SHARES[::4]
"""The same for a criterion that looks at every cell each time."""

NEVER = 1e-12
"""The probability that stands for none where a logarithm is taken."""


def least_squares(histogram: Histogram, levels: int, *, symmetric: bool) -> Interval:
    """Return the interval whose quantization has the least squared error.

    Inside it the error is evenly spread over a step (variance step^2 / 12), but for numbers that are exactly 0 and
    have none; outside it is the distance to the nearest end.

    Args:
        histogram: of all numbers.
        levels: how many integers there are.
        symmetric: whether both ends lie equally far from zero.
    """
    centers, counts = _cells(histogram)
    lows, highs = _ends(histogram, SHARES, symmetric=symmetric)
    below, cut_below = _squares_beyond(centers, counts, lows)
    above, cut_above = _squares_beyond(-centers[::-1], counts[::-1], -highs)
    if symmetric:
        steps = 2 * highs / max(levels - 2, 1)
    else:  # every low end with every high end
        below, cut_below, lows = below[:, None], cut_below[:, None], lows[:, None]
        steps = (highs - lows) / (levels - 1)
    inside = counts.sum() - cut_below - cut_above
    error = np.asarray(below + above + inside * steps**2 / 12)
    best = np.unravel_index(int(np.argmin(error)), error.shape)
    return float(lows.reshape(-1)[best[0]]), float(highs[best[-1]])


def least_divergence(histogram: Histogram, levels: int, *, symmetric: bool) -> Interval:
    """Return the interval whose quantized distribution diverges least from the true one (Kullback-Leibler).

    What lies outside counts at the ends in the true distribution and is missing in the quantized one. Source: S.
    Migacz, "8-bit inference with TensorRT", GTC 2017; here for each end in turn, and with cells of zeros alone left
    out of account.

    Args:
        histogram: of all numbers.
        levels: how many integers there are.
        symmetric: whether both ends lie equally far from zero.
    """
    centers, counts = _cells(histogram)
    lows, highs = _ends(histogram, FEW_SHARES, symmetric=symmetric)
    if centers.size <= levels or not counts.any():
        return float(lows[0]), float(highs[0])
    if symmetric:
        pairs = list(zip(lows, highs, strict=True))
        return min(pairs, key=_divergence_of(centers, counts, levels))
    divergence = _divergence_of(centers, counts, levels)
    high = min(highs, key=lambda end: divergence((lows[0], end)))
    low = min(lows, key=lambda end: divergence((end, high)))
    return float(low), float(high)


def _cells(histogram: Histogram) -> tuple[np.ndarray, np.ndarray]:
    """Return the centers of the cells, and their counts without the exact zeros, which no interval changes."""
    counts = histogram.counts.astype(np.float64)
    if 0 <= -histogram.first < counts.size:
        counts[-histogram.first] -= histogram.zeros
    edges = np.clip(histogram.edges(), histogram.low, histogram.high)
    return (edges[1:] + edges[:-1]) / 2, counts


def _ends(histogram: Histogram, shares: np.ndarray, *, symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the low and the high ends to try."""
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    if symmetric:
        low, high = -max(-low, high), max(-low, high)
    return (low * shares if low else np.zeros(1)), (high * shares if high else np.zeros(1))


def _squares_beyond(centers: np.ndarray, counts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each end, the summed squared distance to it of all numbers below, and how many they are."""
    before = np.searchsorted(centers, ends)
    number, first, second = (np.concatenate(([0.0], np.cumsum(counts * centers**power)))[before] for power in (0, 1, 2))
    return np.maximum(second - 2 * ends * first + ends**2 * number, 0.0), number


def _divergence_of(centers: np.ndarray, counts: np.ndarray, levels: int) -> Callable[[Interval], float]:
    """Return a function from an interval to the divergence that quantizing to it makes."""

    def divergence(interval: Interval) -> float:
        low, high = interval
        start, stop = int(np.searchsorted(centers, low)), int(np.searchsorted(centers, high, side="right"))
        if stop - start < levels or not counts[start:stop].any():
            return np.inf  # each cell would have an integer of its own, and seem to be held without a loss
        kept, true = counts[start:stop], counts[start:stop].copy()
        true[0] += counts[:start].sum()
        true[-1] += counts[stop:].sum()
        there = kept > 0
        integers = np.rint((centers[start:stop] - low) / ((high - low) / (levels - 1))).astype(np.int64)
        sums = np.bincount(integers, weights=kept, minlength=levels)
        cells = np.bincount(integers, weights=there, minlength=levels)
        spread = np.where(there, (sums / np.maximum(cells, 1))[integers], 0.0)
        p, q = true / true.sum(), np.maximum(spread / spread.sum(), NEVER)
        some = p > 0
        return float(np.sum(p[some] * np.log(p[some] / q[some])))

    return divergence
