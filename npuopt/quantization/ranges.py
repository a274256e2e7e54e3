"""The numbers that calibration saw in each tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from npuopt.errors import InputError
from npuopt.quantization.arithmetic import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    import numpy as np

    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.calibration.observation import DataReport

    Run: TypeAlias = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
    """Inputs and outputs of a model."""


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
class Seen:
    """All finite numbers of a tensor that calibration saw.

    Attributes:
        low: the least one.
        high: the greatest one.
        count: how many there were.
        outside: returns the share (0..1) of them below one number or above another; None where the calibration
            method does not remember enough to tell.
    """

    low: float
    high: float
    count: int
    outside: Callable[[float, float], float | None] = field(compare=False, repr=False)


@dataclass(frozen=True)
class Ranges:
    """The range of every float tensor that is no constant.

    Attributes:
        tensors: ranges by tensor name, for 8 bits.
        method: how they were found, for the record.
        samples: how many samples they come from.
        means: for a tensor that meets weights, the mean of each of its channels, by name and channel axis.
        fitted: from a tensor's name, a number of integers and whether zero is in their middle to the range to hold
            in them, where the method makes a difference; None where `tensors` says it all.
        data: what is to be said of the samples; None where nobody looked at them.
        seen: all numbers of each tensor, of which a range may leave some out.
        first: inputs and outputs of the first samples, where they were asked for and could be had.
    """

    tensors: Mapping[str, Range]
    method: str = ""
    samples: int = 0
    means: Mapping[str, Mapping[int, tuple[float, ...]]] = field(
        default_factory=dict[str, "Mapping[int, tuple[float, ...]]"]
    )
    fitted: Callable[[str, int, bool], Range] | None = field(default=None, compare=False, repr=False)
    data: DataReport | None = field(default=None, compare=False, repr=False)
    seen: Mapping[str, Seen] = field(default_factory=dict[str, "Seen"], compare=False, repr=False)
    first: Sequence[Run] = field(default_factory=list["Run"], compare=False, repr=False)

    def of(self, name: str, dtype: IntegerType | None = None, *, symmetric: bool = False) -> Range:
        """Return the range of a tensor.

        Args:
            name: the tensor's.
            dtype: what it is to be held in; 8 bits when None.
            symmetric: whether zero is in the middle of the integers.

        Raises:
            InputError: when calibration did not see the tensor.
        """
        found = self.tensors.get(name)
        if found is None:
            raise InputError(
                "calibration saw no numbers of this tensor", where=name, hint="calibrate the model as it is"
            )
        if dtype is None or self.fitted is None:
            return found
        smallest, largest = limits(dtype)
        return self.fitted(name, largest - smallest + 1, symmetric)
