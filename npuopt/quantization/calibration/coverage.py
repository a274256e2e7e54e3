"""What calibration data shows of a model's inputs, and what it leaves out."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from npuopt.errors import InputError
from npuopt.graph.seeded import table_rows
from npuopt.quantization.calibration.histograms import Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.graph import Model, Value

STRETCHES = 64
"""Into how many equal stretches a float input's range is cut, to count those that hold a number."""

BULK = 0.999
"""The share of an input's numbers at each end that makes out its usual range."""

OUTLIERS = 8.0
"""How many times as wide as the usual range the whole one is when a few numbers are called outliers."""

LARGEST_TABLE = 2**24
"""Rows of a table up to which is counted which of them are read."""

MOST_DIGESTS = 2**16
"""Samples among which equal ones are looked for, so that memory does not grow with all of them."""

DIGEST_BYTES = 16


@dataclass(frozen=True)
class InputCoverage:
    """What the data shows of one input.

    Attributes:
        name: the input's.
        low: its least number.
        high: its greatest number.
        covered: the share (0..1) of its range that holds numbers: of `rows` ids, or of 64 stretches between low and
            high; None for truth values and for integers that index nothing known.
        rows: how many rows the table has that it indexes, where it indexes one.
        constant: whether it is the same in all of several samples.
        usual: for floats, the interval of all but the rarest 0.1 % at each end.
    """

    name: str
    low: float
    high: float
    covered: float | None
    rows: int | None
    constant: bool
    usual: tuple[float, float] | None

    @property
    def has_outliers(self) -> bool:
        """Say whether a few numbers lie far from all others."""
        if self.usual is None:
            return False
        width = self.usual[1] - self.usual[0]
        return 0 < width * OUTLIERS < self.high - self.low


@dataclass(frozen=True)
class Coverage:
    """What the data shows.

    Attributes:
        samples: how many there are.
        repeated: how many are equal to an earlier one.
        inputs: what is shown of each.
    """

    samples: int
    repeated: int
    inputs: tuple[InputCoverage, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it for the record."""
        return {
            "samples": self.samples,
            "repeated": self.repeated,
            "inputs": [{**asdict(item), "outliers": item.has_outliers} for item in self.inputs],
        }

    def notes(self) -> list[str]:
        """Say in sentences what somebody should know."""
        said: list[str] = []
        if self.repeated:
            said.append(f"{self.repeated} of {self.samples} samples are equal to an earlier one and add nothing")
        for item in self.inputs:
            if item.constant:
                said.append(f"input {item.name} is the same in all {self.samples} samples")
            if item.rows is not None and item.covered is not None:
                read = round(item.covered * item.rows)
                said.append(f"input {item.name} covers {read:,} of {item.rows:,} ids ({item.covered:.1%})")
            elif item.has_outliers and item.usual is not None:
                low, high = item.usual
                said.append(
                    f"input {item.name} has outliers: it reaches from {item.low:.4g} to {item.high:.4g}, and 99.8 % of"
                    f" its numbers lie between {low:.4g} and {high:.4g}"
                )
            elif item.covered is not None and item.covered < 0.5:
                said.append(
                    f"input {item.name} has numbers in only {item.covered:.0%} of its range from {item.low:.4g} to"
                    f" {item.high:.4g}"
                )
        return said


class CoverageObserver:
    """Looks at samples as they stream by; remembers a histogram or a table of bits of each input.

    Attributes:
        samples: how many it saw.
    """

    def __init__(self, model: Model) -> None:
        self.samples = 0
        self._repeated = 0
        self._inputs = [_watch_of(value) for value in model.graph.inputs]
        self._all = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._seen: set[bytes] = set()

    @property
    def digest(self) -> str:
        """A short text for all samples so far, in order."""
        return self._all.hexdigest()

    def update(self, sample: Mapping[str, np.ndarray]) -> None:
        """Take in one sample.

        Raises:
            InputError: when an id lies outside of the table that it indexes.
        """
        own = hashlib.blake2b(digest_size=DIGEST_BYTES)
        for watch in self._inputs:
            own.update(watch.update(sample[watch.name], self.samples))
        digest = own.digest()
        self._all.update(digest)
        self._repeated += digest in self._seen
        if len(self._seen) < MOST_DIGESTS:
            self._seen.add(digest)
        self.samples += 1

    def result(self) -> Coverage:
        """Return what the samples so far show."""
        return Coverage(self.samples, self._repeated, tuple(watch.result() for watch in self._inputs))


class _InputWatch:
    """One input, of any type: its extremes, and whether it ever changes."""

    def __init__(self, value: Value) -> None:
        self.name = value.name or ""
        self._low, self._high = np.inf, -np.inf
        self._first = b""
        self._changes = False
        self._samples = 0

    def update(self, array: np.ndarray, index: int) -> bytes:
        """Take in one sample's array; return its digest."""
        found = hashlib.blake2b(f"{array.shape}".encode() + array.tobytes(), digest_size=DIGEST_BYTES).digest()
        if array.size:
            self._low, self._high = min(self._low, float(array.min())), max(self._high, float(array.max()))
            if index == 0 or found != self._first:
                self.count(array, index)
        if index == 0:
            self._first = found
        self._changes |= found != self._first
        self._samples += 1
        return found

    def count(self, array: np.ndarray, index: int) -> None:
        """Take in the numbers of an array that is not empty."""

    def result(self) -> InputCoverage:
        """Return what was seen."""
        low, high = (self._low, self._high) if self._low <= self._high else (0.0, 0.0)
        constant = self._samples > 1 and not self._changes
        return InputCoverage(self.name, low, high, self.covered(), self.rows(), constant, self.usual())

    def covered(self) -> float | None:
        """Return the share of what there is to see that was seen, where that is known."""
        return None

    def rows(self) -> int | None:
        """Return how many ids there are, where the input holds ids."""
        return None

    def usual(self) -> tuple[float, float] | None:
        """Return where nearly all numbers lie, for floats."""
        return None


class _FloatWatch(_InputWatch):
    def __init__(self, value: Value) -> None:
        super().__init__(value)
        self._histogram = Histogram()

    def count(self, array: np.ndarray, index: int) -> None:
        del index
        self._histogram.update(array.reshape(-1).astype(np.float32, copy=False))

    def covered(self) -> float | None:
        kept = self._histogram
        if not kept.counts.size or kept.low == kept.high:
            return None
        filled = kept.edges()[:-1][kept.counts > 0] + kept.width / 2
        places = np.clip((filled - kept.low) / (kept.high - kept.low) * STRETCHES, 0, STRETCHES - 1)
        return len(np.unique(places.astype(np.int64))) / STRETCHES

    def usual(self) -> tuple[float, float] | None:
        if not self._histogram.counts.size:
            return None
        return self._histogram.percentile(1 - BULK), self._histogram.percentile(BULK)


class _IdWatch(_InputWatch):
    def __init__(self, value: Value, rows: int) -> None:
        super().__init__(value)
        self._rows = rows
        self._read = np.zeros(rows, np.bool_)

    def count(self, array: np.ndarray, index: int) -> None:
        ids = array.reshape(-1)
        outside = ids[(ids < -self._rows) | (ids >= self._rows)]
        if outside.size:
            raise InputError(
                f"id {outside[0]} is outside of the {self._rows:,} rows that it chooses from",
                where=f"sample {index}, input {self.name}",
                hint="use the tokenizer that belongs to the model",
            )
        self._read[ids] = True

    def covered(self) -> float | None:
        return float(self._read.mean())

    def rows(self) -> int | None:
        return self._rows


def _watch_of(value: Value) -> _InputWatch:
    kind = value.dtype
    if kind is None or kind.is_floating_point():
        return _FloatWatch(value)
    rows = table_rows(value) if kind.is_integer() else None
    return _InputWatch(value) if rows is None or not 0 < rows <= LARGEST_TABLE else _IdWatch(value, rows)
