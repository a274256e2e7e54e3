"""Tells from how much ranges still grow whether more samples would show more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from npuopt.quantization.ranges import Range

GROWN = 0.1
"""The share of its final width by which a range grew late that counts as still moving: 26 of 256 steps."""

TOO_MANY = 0.1
"""The share of ranges still moving above which a set is called too small. Measured: 4 % with 64 samples of 128 tokens
(tiny_llama), 9 % with 512 images (Fashion-MNIST), 1 % with 80 photographs (EfficientNet-Lite0); 34 % and 9 % with 16 of
those images; 25 % with 20 single tokens, where perplexity shows that they are too few."""


@dataclass(frozen=True)
class Movement:
    """How much ranges grew late.

    Attributes:
        early: after how many samples the comparison starts.
        samples: how many there are in all.
        still_moving: the share (0..1) of all ranges that grew by more than a tenth of their width after that.
        median: how much of its final width (0..1) the median range gained after that.
    """

    early: int
    samples: int
    still_moving: float
    median: float

    @property
    def is_too_small(self) -> bool:
        """Say whether more samples would make a difference."""
        return self.samples < 2 or self.still_moving > TOO_MANY

    def to_json(self) -> dict[str, Any]:
        """Return it for the record."""
        return {
            "after_samples": self.early,
            "still_moving": round(self.still_moving, 4),
            "median_growth": round(self.median, 4),
            "too_small": self.is_too_small,
        }

    def warning(self) -> str:
        """Return a sentence when the set is too small, else an empty text."""
        if self.samples < 2:
            return "a single calibration sample says nothing about what others hold: give more of them"
        if not self.is_too_small:
            return ""
        return (
            f"the calibration set looks too small: after sample {self.early} of {self.samples}, {self.still_moving:.0%}"
            " of the ranges still grew by more than a tenth: give more samples"
        )


class MovementObserver:
    """Remembers ranges from the middle of the samples.

    Args:
        count: how many samples there will be; where that is not known, ranges are noted at each power of two.
    """

    def __init__(self, count: int | None) -> None:
        self._count = count
        self._noted: dict[int, np.ndarray] = {}

    def notes_after(self, done: int) -> bool:
        """Say whether the ranges after `done` samples are needed."""
        return done == self._count // 2 if self._count is not None else done & (done - 1) == 0

    def update(self, done: int, ranges: Iterable[Range]) -> None:
        """Take note of the ranges after `done` samples where that is needed; else they are not even looked at."""
        if self.notes_after(done):
            self._noted[done] = _widths(ranges)
            for old in sorted(self._noted)[:-2]:
                del self._noted[old]

    def result(self, done: int, ranges: Iterable[Range]) -> Movement:
        """Compare the ranges after all samples with those that were noted at half of them, or before."""
        early = max((number for number in self._noted if number <= done / 2), default=0)
        final = _widths(ranges)
        if not early or not final.size:
            return Movement(early, done, 0.0, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            growth = np.where(final > 0, 1 - self._noted[early] / final, 0.0)
        return Movement(early, done, float((growth > GROWN).mean()), float(np.median(growth)))

    def state(self) -> dict[str, np.ndarray]:
        """Return what it remembers."""
        return {str(done): widths for done, widths in self._noted.items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Remember what `state` returned once."""
        self._noted = {int(done): widths for done, widths in state.items()}


def _widths(ranges: Iterable[Range]) -> np.ndarray:
    """Return the widths of the intervals with zero added, as encodings have it."""
    return np.array([max(found.high, 0.0) - min(found.low, 0.0) for found in ranges])
