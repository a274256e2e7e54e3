"""A histogram that grows while numbers stream by."""

from __future__ import annotations

import numpy as np

BINS = 4096
"""Cells of a histogram: 16 for each step of 8 bits, so that a percentile is off by less than a tenth of a step."""

FLOAT32_STEP = 2.0**-24
"""Relative distance of neighbouring float32 numbers: cells need not be finer."""

AT_ONCE = 2**16
"""Numbers that are sorted into cells at a time: their indexes stay in the processor's cache."""


class Histogram:
    """Counts numbers in cells of one width, which grow by joining two by two: one pass over the data is enough.

    Cell i counts the numbers in [i * width, (i + 1) * width), and the width is a power of two: joining cells loses
    no count and does not depend on the order of the samples.

    Attributes:
        low: the least number, infinity before the first.
        high: the greatest number, minus infinity before the first.
        zeros: how many numbers are exactly 0; they are counted in their cell too.
        width: of a cell, 0 before the first number.
        first: index of the first cell.
        counts: of each cell, int64.
    """

    def __init__(self) -> None:
        self.low = float("inf")
        self.high = float("-inf")
        self.zeros = 0
        self.width = 0.0
        self.first = 0
        self.counts = np.zeros(0, np.int64)

    def update(self, array: np.ndarray) -> None:
        """Count finite numbers, flat and at least one."""
        self.low = min(self.low, float(array.min()))
        self.high = max(self.high, float(array.max()))
        self._make_room()
        for start in range(0, array.size, AT_ONCE):
            part = array[start : start + AT_ONCE]
            self.zeros += part.size - int(np.count_nonzero(part))
            # Exact but for the last digit at a cell's edge: the width is a power of two.
            places = part * part.dtype.type(1 / self.width) - part.dtype.type(self.first)
            cells = np.minimum(places.astype(np.int64), self.counts.size - 1)
            self.counts += np.bincount(cells, minlength=self.counts.size)

    def edges(self) -> np.ndarray:
        """Return the lower edge of each cell and, at the end, the upper edge of the last."""
        return (self.first + np.arange(self.counts.size + 1)) * self.width

    def percentile(self, share: float) -> float:
        """Return the number below which `share` (0..1) of all lie, taking each cell's numbers as evenly spread."""
        cumulative = np.concatenate(([0], np.cumsum(self.counts)))
        found = float(np.interp(share * float(cumulative[-1]), cumulative, self.edges()))
        return min(max(found, self.low), self.high)

    def outside(self, low: float, high: float) -> float:
        """Return the share (0..1) of all below `low` or above `high`, taking each cell's numbers as evenly spread."""
        if low <= self.low and self.high <= high:
            return 0.0
        cumulative = np.concatenate(([0], np.cumsum(self.counts)))
        below, within = (float(np.interp(end, self.edges(), cumulative)) for end in (low, high))
        return 1 - (within - below) / float(cumulative[-1])

    def _make_room(self) -> None:
        """Let the cells cover the extremes."""
        low, high = self.low, self.high
        if not self.width:
            span = max(high - low, max(abs(low), abs(high)) * FLOAT32_STEP, 1e-30)
            self.width = 2.0 ** np.ceil(np.log2(span / (BINS // 2)))
        while True:
            first, last = int(np.floor(low / self.width)), int(np.floor(high / self.width))
            if self.counts.size:
                first, last = min(first, self.first), max(last, self.first + self.counts.size - 1)
            if last - first < BINS:
                break
            self.width *= 2
            self._join()
        grown = np.zeros(last - first + 1, np.int64)
        grown[self.first - first :][: self.counts.size] = self.counts
        self.first, self.counts = first, grown

    def _join(self) -> None:
        """Join neighbouring cells; pairs start at even indexes."""
        if not self.counts.size:
            return
        padded = np.pad(self.counts, (self.first % 2, (self.first + self.counts.size) % 2))
        self.counts = padded.reshape(-1, 2).sum(axis=1)
        self.first //= 2
