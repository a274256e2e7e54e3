"""Ways to find the range that an encoding should cover."""

from __future__ import annotations

from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar, Protocol

from npuopt.errors import UsageError
from npuopt.quantization.arithmetic import SIXTEEN_BITS
from npuopt.quantization.calibration.clipping import least_divergence, least_squares
from npuopt.quantization.calibration.observers import EIGHT_BITS, AverageObserver, ExtremesObserver, HistogramObserver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.quantization.calibration.histograms import Histogram
    from npuopt.quantization.calibration.observers import Observer
    from npuopt.target import Target

USUAL = 0.99999
"""The share of all numbers at or below the upper end of a range for 8 bits, when nobody says."""


class Method(Protocol):
    """A way to find ranges."""

    name: ClassVar[str]

    needs_numbers: ClassVar[bool]
    """Whether it looks at all numbers of a tensor, or at the least and the greatest of each sample only."""

    def observer(self) -> Observer:
        """Return an observer for one tensor."""
        ...


@dataclass(frozen=True)
class MinMax:
    """The least and the greatest number ever seen."""

    name: ClassVar[str] = "minmax"
    needs_numbers: ClassVar[bool] = False

    def observer(self) -> Observer:
        """Return an observer that keeps two numbers."""
        return ExtremesObserver()


@dataclass(frozen=True)
class MovingAverage:
    """The samples' least and greatest numbers, averaged.

    Attributes:
        constant: weight of each sample after the first 1 / constant ones, which count evenly.
    """

    name: ClassVar[str] = "moving-average"
    needs_numbers: ClassVar[bool] = False

    constant: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.constant <= 1:
            raise UsageError(f"averaging constant {self.constant:g} is not above 0 and at most 1")

    def observer(self) -> Observer:
        """Return an observer that keeps two numbers."""
        return AverageObserver(self.constant)


@dataclass(frozen=True)
class Percentile:
    """The interval that leaves out the rarest numbers at each end.

    Attributes:
        percentile: share of the numbers, in percent, that lie at or below the upper end; as many lie at or above
            the lower end.
    """

    name: ClassVar[str] = "percentile"
    needs_numbers: ClassVar[bool] = True

    percentile: float = 99.99

    def __post_init__(self) -> None:
        if not 50 < self.percentile <= 100:
            raise UsageError(f"percentile {self.percentile:g} is not above 50 and at most 100")

    def observer(self) -> Observer:
        """Return an observer that keeps a histogram."""
        return HistogramObserver(self._fit)

    def _fit(self, histogram: Histogram, levels: int, symmetric: bool) -> tuple[float, float]:
        del levels, symmetric
        share = self.percentile / 100
        return histogram.percentile(1 - share), histogram.percentile(share)


@dataclass(frozen=True)
class Entropy:
    """The interval whose quantized distribution diverges least from the true one (Kullback-Leibler)."""

    name: ClassVar[str] = "entropy"
    needs_numbers: ClassVar[bool] = True

    def observer(self) -> Observer:
        """Return an observer that keeps a histogram."""
        return HistogramObserver(lambda kept, levels, symmetric: least_divergence(kept, levels, symmetric=symmetric))


@dataclass(frozen=True)
class LeastSquares:
    """The interval whose quantization has the least squared error."""

    name: ClassVar[str] = "mse"
    needs_numbers: ClassVar[bool] = True

    def observer(self) -> Observer:
        """Return an observer that keeps a histogram."""
        return HistogramObserver(lambda kept, levels, symmetric: least_squares(kept, levels, symmetric=symmetric))


@dataclass(frozen=True)
class ByBits:
    """Minmax for more than 8 bits, which have steps to spare; percentile 99.999 for 8 bits and fewer.

    The default: near the best everywhere, where every other method fails somewhere. Measured with everything
    quantized, on the same samples, before scores to choose by were spared (`watches.rare_numbers_decide`):

    | at a8w8 | minmax | moving-average | percentile 99.99 | 99.999 | entropy | mse |
    |---|---|---|---|---|---|---|
    | language model, perplexity | +1.56 % | +0.98 % | +4.77 % | +1.09 % | +2.14 % | +2.39 % |
    | Fashion-MNIST, SQNR of logits, dB | 35.7 | 19.0 | 34.9 | 35.0 | 26.4 | 34.7 |
    | EfficientNet-Lite0, the same | 22.8 | 20.2 | 22.0 | 22.9 | 19.8 | 22.7 |
    | sentence encoder, cosine of embeddings | 0.787 | 0.823 | 0.719 | 0.816 | 0.695 | 0.825 |
    | text recognizer, lines read right (float 80.5 %) | 66.0 % | 80.5 % | 73.0 % | 82.5 % | 0 % | 81.5 % |
    """

    name: ClassVar[str] = "by-bits"
    needs_numbers: ClassVar[bool] = True

    def observer(self) -> Observer:
        """Return an observer that keeps a histogram."""
        return HistogramObserver(self._fit)

    def _fit(self, histogram: Histogram, levels: int, symmetric: bool) -> tuple[float, float]:
        del symmetric
        if levels > EIGHT_BITS:
            return histogram.low, histogram.high
        return histogram.percentile(1 - USUAL), histogram.percentile(USUAL)


def default_method(target: Target, scheme: str) -> Method:
    """Return how ranges are found when nobody says: what `ByBits` does, without histograms where none has 8 bits.

    Of a scheme of 16 bits that is where the target computes what it does not take in one of 8 beside it.
    """
    own, beside = target.scheme(scheme), target.beside(scheme)
    if own.is_float8:
        return MinMax()
    mixes = beside is not None and target.scheme(beside).is_integer
    return ByBits() if own.activation not in SIXTEEN_BITS or mixes else MinMax()


METHODS: dict[str, type[MinMax | MovingAverage | Percentile | Entropy | LeastSquares | ByBits]] = {
    method.name: method for method in (MinMax, MovingAverage, Percentile, Entropy, LeastSquares, ByBits)
}


def make_method(name: str, options: Mapping[str, object]) -> Method:
    """Return a method by its name, with options as they are written in a text.

    Raises:
        UsageError: for an unknown name or option, or a value that is no number or out of bounds.
    """
    found = METHODS.get(name)
    if found is None:
        close = get_close_matches(name, METHODS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(METHODS)}"
        raise UsageError(f"there is no calibration method {name!r}", hint=hint)
    known = [field.name for field in fields(found)]
    strange = [option for option in options if option not in known]
    if strange:
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise UsageError(f"calibration method {name} has no option {strange[0]!r}", hint=has)
    values: dict[str, float] = {}
    for option, given in options.items():
        try:
            values[option] = float(given)  # pyright: ignore[reportArgumentType] -- what is no number raises
        except (TypeError, ValueError):
            raise UsageError(f"option {option} of calibration method {name} is no number: {given!r}") from None
    return found(**values)


def method_text(method: Method) -> str:
    """Return the method as a text that makes it again: `percentile{percentile=99.99}`."""
    options = ",".join(f"{field.name}={getattr(method, field.name):g}" for field in fields(type(method)))  # pyright: ignore[reportArgumentType] -- every method is a dataclass
    return f"{method.name}{{{options}}}" if options else method.name
