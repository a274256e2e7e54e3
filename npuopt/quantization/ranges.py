"""The numbers that calibration saw in each tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from npuopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Range:
    """The interval of real numbers that an encoding should cover.

    Attributes:
        low: its least number.
        high: its greatest number.
        row_peak: for a tensor that a Softmax reads, the least maximum of any row along the Softmax's axis that is
            not masked out as a whole. Numbers far below the peak of their row have no share in the result.
    """

    low: float
    high: float
    row_peak: float | None = None

    def union(self, other: Range) -> Range:
        """Return the smallest interval that holds both."""
        peaks = [peak for peak in (self.row_peak, other.row_peak) if peak is not None]
        return Range(min(self.low, other.low), max(self.high, other.high), min(peaks, default=None))

    def within(self, low: float, high: float) -> Range:
        """Return the part between `low` and `high`; both ends move there when the interval lies outside."""
        return Range(min(max(self.low, low), high), max(min(self.high, high), low), self.row_peak)


@dataclass(frozen=True)
class Ranges:
    """The range of every float tensor that is no constant.

    Attributes:
        tensors: ranges by tensor name.
        method: how they were found, for the record.
        samples: how many samples they come from.
        means: for a tensor that meets weights, the mean of each of its channels, by name and channel axis.
    """

    tensors: Mapping[str, Range]
    method: str = ""
    samples: int = 0
    means: Mapping[str, Mapping[int, tuple[float, ...]]] = field(
        default_factory=dict[str, "Mapping[int, tuple[float, ...]]"]
    )

    def of(self, name: str) -> Range:
        """Return the range of the tensor, or raise InputError when calibration did not see it."""
        found = self.tensors.get(name)
        if found is None:
            raise InputError(
                "calibration saw no numbers of this tensor", where=name, hint="calibrate the model as it is"
            )
        return found
