"""A metric that can be taken over any choice of samples, and how sure one can be of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from npuopt.errors import ToolchainMissingError

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

AT_ONCE = 64
"""Resamples whose indexes are held at a time: 10,000 samples take 5 MB then."""

Statistic: TypeAlias = "Callable[[NDArray[np.intp]], float]"
"""A number computed from the samples at these indexes."""


@dataclass(frozen=True)
class Scores:
    """What a model scored on each sample.

    Attributes:
        count: number of samples.
        value: the metric over the samples at the given indexes, repeated ones counted as often.
    """

    count: int
    value: Statistic

    @property
    def total(self) -> float:
        """The metric over all samples."""
        return self.value(np.arange(self.count))


def ratio(rows: Sequence[tuple[float, float]], then: Callable[[float], float] = float) -> Scores:
    """Return scores whose metric is `then` of the sum of the first numbers over the sum of the second."""
    table = np.asarray(rows, np.float64).reshape(len(rows), 2)

    def value(chosen: NDArray[np.intp]) -> float:
        upper, lower = table[chosen].sum(axis=0)
        return then(float(upper / lower)) if lower else float("nan")

    return Scores(len(table), value)


def confidence_interval(
    statistic: Statistic, count: int, *, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float] | None:
    """Return the bootstrap interval of a statistic of samples; None for fewer than two of them.

    Percentile method: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13. A difference of two
    models on the same samples is paired, as both see the same resample.

    Args:
        statistic: of the samples at the given indexes.
        count: number of samples.
        confidence: share of resamples that lie inside.
        resamples: how many are drawn.
        seed: of the draw.
    """
    if count < 2:
        return None
    stats: Any = extra("scipy.stats")
    found = stats.bootstrap(
        (np.arange(count),),
        statistic,
        vectorized=False,
        n_resamples=resamples,
        batch=AT_ONCE,
        method="percentile",
        confidence_level=confidence,
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def extra(module: str) -> ModuleType:
    """Import a library of the `evaluate` extra.

    Raises:
        ToolchainMissingError: when it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ToolchainMissingError(
            f"{module.split('.', maxsplit=1)[0]} is not installed", hint="pip install 'npuopt[evaluate]'"
        ) from error
