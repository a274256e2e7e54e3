"""What is kept of a tensor while samples stream by: a few numbers or one histogram, never the samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from npuopt.quantization.calibration.histograms import Histogram
from npuopt.quantization.ranges import Range

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    State = Mapping[str, np.ndarray]
    Fit = Callable[[Histogram, int, bool], tuple[float, float]]
    """From all numbers, the number of integers and whether zero is in their middle to the interval to cover."""

EIGHT_BITS = 256
"""Integers that a range is for when nobody says."""


class Observer(Protocol):
    """Watches one tensor."""

    def update(self, array: np.ndarray) -> None:
        """Take in the tensor's finite float32 numbers of one sample, flat and at least one."""
        ...

    def range(self, levels: int = EIGHT_BITS, *, symmetric: bool = False) -> Range:
        """Return the range that fits what was seen, to be held in so many integers, around zero when symmetric."""
        ...

    def extremes(self) -> tuple[float, float]:
        """Return the least and the greatest number ever seen."""
        ...

    def outside(self, low: float, high: float) -> float | None:
        """Return the share (0..1) of all numbers below `low` or above `high`; None where it cannot tell."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Return all that it remembers."""
        ...

    def restore(self, state: State) -> None:
        """Remember what `state` returned once."""
        ...


class ExtremesObserver:
    """Keeps the least and the greatest number."""

    def __init__(self) -> None:
        self.low = float("inf")
        self.high = float("-inf")

    def update(self, array: np.ndarray) -> None:
        """Widen the interval."""
        self.take(float(array.min()), float(array.max()))

    def take(self, low: float, high: float) -> None:
        """Widen the interval by the extremes of one sample."""
        self.low = min(self.low, low)
        self.high = max(self.high, high)

    def range(self, levels: int = EIGHT_BITS, *, symmetric: bool = False) -> Range:
        """Return the interval, whatever it is to be held in."""
        del levels, symmetric
        return Range(self.low, self.high)

    def extremes(self) -> tuple[float, float]:
        """Return the two numbers."""
        return self.low, self.high

    def outside(self, low: float, high: float) -> float | None:
        """Return 0 where all numbers are within; of others nothing is known."""
        least, greatest = self.extremes()
        return 0.0 if low <= least and greatest <= high else None

    def state(self) -> dict[str, np.ndarray]:
        """Return the two numbers."""
        return {"extremes": np.array([self.low, self.high])}

    def restore(self, state: State) -> None:
        """Take the two numbers back."""
        self.low, self.high = (float(number) for number in state["extremes"])


class AverageObserver(ExtremesObserver):
    """Averages the extremes of the samples: evenly at first, then with a fixed weight for each new one.

    Args:
        weight: the least weight (0..1) of a sample when it comes.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self._weight = weight
        self._samples = 0
        self._ever = ExtremesObserver()

    def take(self, low: float, high: float) -> None:
        """Move the interval towards the extremes of one sample."""
        self._samples += 1
        self._ever.take(low, high)
        weight = max(self._weight, 1 / self._samples)
        self.low = low if self._samples == 1 else self.low + weight * (low - self.low)
        self.high = high if self._samples == 1 else self.high + weight * (high - self.high)

    def extremes(self) -> tuple[float, float]:
        """Return those of all samples, which the averages lie between."""
        return self._ever.extremes()

    def state(self) -> dict[str, np.ndarray]:
        """Return the averages, how many samples they come from, and the extremes of all."""
        return {"extremes": np.array([self.low, self.high, self._samples, *self.extremes()])}

    def restore(self, state: State) -> None:
        """Take the numbers back."""
        self.low, self.high, samples, *ever = (float(number) for number in state["extremes"])
        self._samples = int(samples)
        self._ever.low, self._ever.high = ever


class HistogramObserver:
    """Keeps a histogram.

    Args:
        fit: chooses the interval to cover, within the extremes.
    """

    def __init__(self, fit: Fit) -> None:
        self._fit = fit
        self._histogram = Histogram()
        self._known: dict[tuple[int, bool], Range] = {}

    def update(self, array: np.ndarray) -> None:
        """Count the numbers."""
        self._histogram.update(array)
        self._known.clear()

    def range(self, levels: int = EIGHT_BITS, *, symmetric: bool = False) -> Range:
        """Return the interval that the method chooses; it is remembered until more numbers come."""
        key = (levels, symmetric)
        if key not in self._known:
            low, high = self._fit(self._histogram, levels, symmetric)
            self._known[key] = Range(low, high).within(self._histogram.low, self._histogram.high)
        return self._known[key]

    def extremes(self) -> tuple[float, float]:
        """Return the ends of the histogram."""
        return self._histogram.low, self._histogram.high

    def outside(self, low: float, high: float) -> float | None:
        """Return the share by the histogram."""
        return self._histogram.outside(low, high)

    def state(self) -> dict[str, np.ndarray]:
        """Return the histogram."""
        kept = self._histogram
        return {
            "extremes": np.array([kept.low, kept.high, kept.width]),
            "whole": np.array([kept.zeros, kept.first], np.int64),
            "counts": kept.counts,
        }

    def restore(self, state: State) -> None:
        """Take the histogram back."""
        kept = self._histogram
        kept.low, kept.high, kept.width = (float(number) for number in state["extremes"])
        kept.zeros, kept.first = (int(number) for number in state["whole"])
        kept.counts = np.array(state["counts"], np.int64)
        self._known.clear()
