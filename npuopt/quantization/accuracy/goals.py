"""How much worse a quantized model may be: a bound on a metric, as `--max-drop METRIC=VALUE` says it."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from npuopt.errors import InputError, UsageError
from npuopt.quantization.accuracy.sensitivity import decibels, relative_noise
from npuopt.quantization.samples.callables import load_function, looks_like_function

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Arrays = Mapping[str, np.ndarray]

METRICS = ("sqnr", "perplexity")

FORMS = "sqnr=DECIBELS, perplexity=PERCENT% or package.module:function=NUMBER; @OUTPUT behind sqnr or perplexity"


@dataclass(frozen=True)
class Goal:
    """A bound on a metric.

    Attributes:
        metric: `sqnr`, `perplexity`, or `package.module:function`.
        limit: the least signal to noise in dB; the most by which perplexity may grow, 0.01 for 1 %; the most by which
            the function's value may fall.
        output: the only output that counts; all for `sqnr`, the one with the most classes for `perplexity`, if empty.
    """

    metric: str
    limit: float
    output: str = ""

    @classmethod
    def parse(cls, text: str) -> Goal:
        """Read `METRIC=VALUE` or `METRIC@OUTPUT=VALUE`.

        Raises:
            UsageError: when it is of another form.
        """
        metric, equals, number = text.rpartition("=")
        metric, _, output = metric.partition("@")
        is_share = number.endswith("%")
        try:
            limit = float(number.removesuffix("%")) / (100 if is_share else 1)
        except ValueError:
            limit = float("nan")
        known = metric in METRICS or (looks_like_function(metric) and not output)
        if not equals or not known or not isfinite(limit) or (is_share and metric != "perplexity"):
            raise UsageError(f"{text!r} is no bound on a metric", hint=f"write {FORMS}")
        if limit < 0:
            raise UsageError(f"{text!r} asks for less than nothing", hint=f"write {FORMS}")
        return cls(metric, limit, output)

    @property
    def is_function(self) -> bool:
        """Whether the user's own function is asked, which gets the model's inputs and outputs."""
        return self.metric not in METRICS

    def outputs(self, reference: Arrays) -> list[str]:
        """Return the float outputs that count.

        Raises:
            UsageError: when there is no such output.
        """
        floats = [name for name, array in reference.items() if array.dtype.kind == "f" and array.size]
        if self.output:
            if self.output not in floats:
                raise UsageError(f"no float output is called {self.output!r}", hint=f"there are {', '.join(floats)}")
            return [self.output]
        if not floats:
            raise UsageError(f"the model has no float output whose {self.metric} could be measured")
        if self.metric == "perplexity":
            logits = [name for name in floats if reference[name].ndim > 1]
            return [max(logits or floats, key=lambda name: reference[name].shape[-1])]
        return floats

    def measure(self, inputs: Sequence[Arrays], reference: Sequence[Arrays], got: Sequence[Arrays]) -> float:
        """Return how much worse the model is; for `sqnr` the ratio in dB at the output that suffers most.

        Raises:
            InputError: when the user's function raises, or returns no number.
        """
        if self.metric == "sqnr":
            noise = relative_noise(reference, got)
            return decibels(max(noise[name] for name in self.outputs(reference[0])))
        if self.metric == "perplexity":
            (name,) = self.outputs(reference[0])
            return exp(_divergence([one[name] for one in reference], [one[name] for one in got])) - 1
        return _value(self.metric, inputs, reference) - _value(self.metric, inputs, got)

    def is_met(self, measured: float) -> bool:
        """Say whether it is good enough."""
        return measured >= self.limit if self.metric == "sqnr" else measured <= self.limit

    def badness(self, measured: float) -> float:
        """Return what was measured relative to the bound, growing with the noise: 1 at the bound."""
        if self.metric == "sqnr":
            return 10 ** ((self.limit - measured) / 10)
        return max(measured, 0.0) / self.limit if self.limit else (1.0 if measured <= 0 else float("inf"))

    def text(self, measured: float) -> str:
        """Say what was measured."""
        if self.metric == "sqnr":
            return f"{measured:.1f} dB"
        if self.metric == "perplexity":
            return f"perplexity {measured:+.2%}"
        return f"{self.metric} {-measured:+.4g}"


def _divergence(reference: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> float:
    """Return the mean over all positions of the Kullback-Leibler divergence of the distributions, in nats.

    exp of it is the ratio of perplexities on text that the float model itself would write: no labels are needed.
    """
    total, count = 0.0, 0
    for expected, actual in zip(reference, got, strict=True):
        wanted, given = _log_softmax(expected), _log_softmax(actual)
        each = (np.exp(wanted) * (wanted - given)).sum(axis=-1)
        total += float(each.sum())
        count += each.size
    return total / max(count, 1)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


def _value(spec: str, inputs: Sequence[Arrays], outputs: Sequence[Arrays]) -> float:
    function = load_function(spec)
    try:
        result: Any = function([dict(one) for one in inputs], [dict(one) for one in outputs])
        number = float(result)
    except Exception as error:
        raise InputError(f"the metric fails: {type(error).__name__}: {error}", where=spec) from error
    if not isfinite(number):
        raise InputError(f"the metric returns {number}, which is no number to compare", where=spec)
    return number
