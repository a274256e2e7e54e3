"""How sure a model was of what it said: a signal, and thresholds for it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.errors import UsageError

if TYPE_CHECKING:
    from npuopt.runtime.generation.sampling import Choice


@dataclass(frozen=True)
class Thresholds:
    """When an answer counts as doubtful.

    Attributes:
        min_log_probability: mean log-probability of the latest tokens below which it is, in nats; None: not looked at.
        max_entropy: mean entropy of the latest distributions above which it is, in nats; None: not looked at.
        window: how many of the latest tokens are looked at; with fewer, nothing is doubtful yet.
    """

    min_log_probability: float | None = None
    max_entropy: float | None = None
    window: int = 16

    def __post_init__(self) -> None:
        if self.window < 1:
            raise UsageError("a window of confidence holds no token")
        if self.min_log_probability is not None and not self.min_log_probability <= 0:
            raise UsageError("a log-probability is above 0", hint="give a number such as -3")
        if self.max_entropy is not None and not self.max_entropy >= 0:
            raise UsageError("an entropy is below 0", hint="give a number such as 4")


class Confidence:
    """The latest tokens' log-probabilities and entropies.

    Args:
        thresholds: when the answer counts as doubtful.
    """

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self._latest: deque[Choice] = deque(maxlen=thresholds.window)

    def add(self, choice: Choice) -> None:
        """Look at one more token."""
        self._latest.append(choice)

    @property
    def mean_log_probability(self) -> float:
        """Mean of the latest tokens' log-probabilities, in nats; 0 before the first."""
        return sum(choice.log_probability for choice in self._latest) / max(len(self._latest), 1)

    @property
    def mean_entropy(self) -> float:
        """Mean of the latest distributions' entropies, in nats; 0 before the first."""
        return sum(choice.entropy for choice in self._latest) / max(len(self._latest), 1)

    def doubt(self) -> str:
        """Return which threshold is passed, or nothing."""
        limits = self.thresholds
        if len(self._latest) < limits.window:
            return ""
        if limits.min_log_probability is not None and self.mean_log_probability < limits.min_log_probability:
            return f"mean log-probability {self.mean_log_probability:.3f} is below {limits.min_log_probability:g}"
        if limits.max_entropy is not None and self.mean_entropy > limits.max_entropy:
            return f"mean entropy {self.mean_entropy:.3f} is above {limits.max_entropy:g}"
        return ""
