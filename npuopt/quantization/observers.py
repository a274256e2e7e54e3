"""What is kept of a tensor while samples stream by: a few numbers or one histogram, never the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from npuopt.errors import UsageError
from npuopt.quantization.ranges import Range

BINS = 4096
"""Cells of a histogram: 16 for each step of 8 bits, so that a percentile is off by less than a tenth of a step."""


FLOAT32_STEP = 2.0**-24
"""Relative distance of neighbouring float32 numbers: cells need not be finer."""


class Observer(Protocol):
    """Watches one tensor."""

    def update(self, array: np.ndarray) -> None:
        """Take in the tensor's finite numbers of one sample, flat and at least one."""
        ...

    def range(self) -> Range:
        """Return the range that fits what was seen."""
        ...


class Method(Protocol):
    """A way to find ranges."""

    @property
    def name(self) -> str:
        """The method and its options, for the record."""
        ...

    def observer(self) -> Observer:
        """Return an observer for one tensor."""
        ...


@dataclass(frozen=True)
class MinMax:
    """The least and the greatest number ever seen."""

    name: str = "minmax"

    def observer(self) -> Observer:
        """Return an observer that keeps two numbers."""
        return ExtremesObserver()


@dataclass(frozen=True)
class Percentile:
    """The interval that leaves out the rarest numbers at each end.

    Attributes:
        percentile: share of the numbers, in percent, that lie at or below the upper end; as many lie at or above
            the lower end.
    """

    percentile: float = 99.99

    def __post_init__(self) -> None:
        if not 50 < self.percentile <= 100:
            raise UsageError(f"percentile {self.percentile} is not above 50 and at most 100")

    @property
    def name(self) -> str:
        """The method and its options, for the record."""
        return f"percentile {self.percentile:g}"

    def observer(self) -> Observer:
        """Return an observer that keeps a histogram."""
        return HistogramObserver(self.percentile / 100)


class ExtremesObserver:
    """Keeps the least and the greatest number."""

    def __init__(self) -> None:
        self.low = float("inf")
        self.high = float("-inf")

    def update(self, array: np.ndarray) -> None:
        """Widen the interval."""
        self.low = min(self.low, float(array.min()))
        self.high = max(self.high, float(array.max()))

    def range(self) -> Range:
        """Return the interval."""
        return Range(self.low, self.high)


class HistogramObserver:
    """Keeps a histogram that grows by joining cells two by two, so one pass over the data is enough.

    Cell i counts the numbers in [i * width, (i + 1) * width), and the width is a power of two: joining cells loses
    no count and does not depend on the order of the samples.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._extremes = ExtremesObserver()
        self._width = 0.0
        self._first = 0
        self._counts = np.zeros(0, np.int64)

    def update(self, array: np.ndarray) -> None:
        """Count the numbers."""
        numbers = array.astype(np.float64, copy=False)
        self._extremes.update(numbers)
        self._make_room()
        cells = np.floor(numbers / self._width).astype(np.int64) - self._first
        self._counts += np.bincount(cells, minlength=self._counts.size)

    def _make_room(self) -> None:
        """Let the cells cover the extremes."""
        low, high = self._extremes.low, self._extremes.high
        if not self._width:
            span = max(high - low, max(abs(low), abs(high)) * FLOAT32_STEP, 1e-30)
            self._width = 2.0 ** np.ceil(np.log2(span / (BINS // 2)))
        first, last = self._first, self._first + self._counts.size - 1
        while True:
            wanted_first, wanted_last = int(np.floor(low / self._width)), int(np.floor(high / self._width))
            if self._counts.size:
                wanted_first, wanted_last = min(wanted_first, first), max(wanted_last, last)
            if wanted_last - wanted_first < BINS:
                break
            self._width *= 2
            self._join()
            first, last = self._first, self._first + self._counts.size - 1
        grown = np.zeros(wanted_last - wanted_first + 1, np.int64)
        grown[self._first - wanted_first :][: self._counts.size] = self._counts
        self._first, self._counts = wanted_first, grown

    def _join(self) -> None:
        """Join neighbouring cells; pairs start at even indexes."""
        if not self._counts.size:
            return
        padded = np.pad(self._counts, (self._first % 2, (self._first + self._counts.size) % 2))
        self._counts = padded.reshape(-1, 2).sum(axis=1)
        self._first //= 2

    def range(self) -> Range:
        """Return the interval between the two percentiles, never wider than the extremes."""
        low, high = self._at(1 - self._share), self._at(self._share)
        return Range(low, high).within(self._extremes.low, self._extremes.high)

    def _at(self, share: float) -> float:
        """Return the number below which `share` of all lie, taking each cell's numbers as evenly spread."""
        cumulative = np.concatenate(([0], np.cumsum(self._counts)))
        edges = (self._first + np.arange(cumulative.size)) * self._width
        return float(np.interp(share * float(cumulative[-1]), cumulative, edges))
