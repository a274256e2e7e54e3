"""Chooses the next token from a model's logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. The defaults are greedy: always the most probable one.

    Attributes:
        temperature: logits are divided by it; 0 is greedy.
        top_k: only this many of the most probable tokens are drawn from; 0 for all.
        top_p: only the most probable tokens that together reach this probability are drawn from.
        repetition_penalty: logits of tokens seen are divided by it where positive and multiplied where negative
            (Keskar et al., "CTRL", 2019, section 4.1); 1 is none.
        seed: of the draw; the same seed, prompt and artifact give the same text.

    Raises:
        UsageError: when a number is out of its range.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = {
            "temperature is not a number from 0 to 100": 0 <= self.temperature <= 100,
            "top-k is negative": self.top_k >= 0,
            "top-p is not above 0 and at most 1": 0 < self.top_p <= 1,
            "repetition penalty is not above 0 and at most 100": 0 < self.repetition_penalty <= 100,
            "seed is negative": self.seed >= 0,
        }
        for what, holds in allowed.items():  # NaN fails every comparison
            if not holds:
                raise UsageError(what)


@dataclass(frozen=True)
class Choice:
    """One chosen token, and how sure the model was.

    Attributes:
        token: its id.
        log_probability: of the token, in nats, as the model says it: before temperature, penalty and cuts.
        entropy: of the model's distribution, in nats.
    """

    token: int
    log_probability: float
    entropy: float


class Sampler:
    """Chooses token after token; holds the state of the draw."""

    def __init__(self, options: Sampling) -> None:
        self.options = options
        self._random = np.random.default_rng(options.seed)

    def choose(self, logits: NDArray[np.floating], seen: Collection[int] = ()) -> Choice:
        """Choose a token.

        Args:
            logits: [vocabulary].
            seen: tokens that the repetition penalty is for.

        Raises:
            InputError: when the model computed NaN, or nothing is possible.
        """
        scores = logits.astype(np.float64)
        if np.isnan(scores).any() or not np.isfinite(scores.max()):
            raise InputError("the model computed logits that are no numbers", hint="compile in a wider precision")
        log_probabilities = log_softmax(scores)
        chosen = self._draw(_penalized(scores, seen, self.options.repetition_penalty))
        return Choice(chosen, float(log_probabilities[chosen]), entropy(log_probabilities))

    def _draw(self, scores: Floats) -> int:
        if self.options.temperature == 0:
            return int(scores.argmax())
        kept = _most_probable(scores / self.options.temperature, self.options.top_k, self.options.top_p)
        probabilities = np.exp(log_softmax(kept))
        return int(self._random.choice(len(probabilities), p=probabilities / probabilities.sum()))


def log_softmax(scores: Floats) -> Floats:
    """Return log-probabilities, in nats, over the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def entropy(log_probabilities: Floats) -> float:
    """Return the entropy of one distribution in nats."""
    possible = log_probabilities[np.isfinite(log_probabilities)]
    return float(-(np.exp(possible) * possible).sum())


def _penalized(scores: Floats, seen: Collection[int], penalty: float) -> Floats:
    if penalty == 1 or not seen:
        return scores
    places = np.array(sorted(set(seen)), np.int64)
    held = scores[places]
    penalized = scores.copy()
    penalized[places] = np.where(held > 0, held / penalty, held * penalty)
    return penalized


def _most_probable(scores: Floats, top_k: int, top_p: float) -> Floats:
    """Return the scores with minus infinity outside the k most probable and the smallest set that reaches p."""
    if 0 < top_k < len(scores):
        floor = np.partition(scores, -top_k)[-top_k]
        scores = np.where(scores < floor, -np.inf, scores)
    if top_p < 1:
        order = np.argsort(-scores, kind="stable")
        reached = np.cumsum(np.exp(log_softmax(scores[order])))
        outside = order[int(np.searchsorted(reached, top_p)) + 1 :]
        scores = scores.copy()
        scores[outside] = -np.inf
    return scores
