"""How close a language model's next tokens are to another's on the same text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError
from npuopt.evaluate.perplexity import token_losses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]


class NextTokens:
    """Sums over the tokens of a text, window by window, as the logits of a large vocabulary do not fit memory.

    Attributes:
        tokens: how many were looked at.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self._losses = np.zeros(2)
        self._agreed = 0
        self._divergence = 0.0

    def add(self, logits: Floats, reference: Floats, targets: NDArray[np.integer]) -> None:
        """Look at a window.

        Args:
            logits: [tokens, vocabulary].
            reference: those of the model it is held against, of the same shape.
            targets: the tokens that follow, [tokens].

        Raises:
            InputError: when the shapes differ.
        """
        if logits.shape != reference.shape or logits.shape[:-1] != targets.shape:
            shapes = f"{list(logits.shape)}, {list(reference.shape)} and {list(targets.shape)}"
            raise InputError(f"logits, the other model's and targets of shapes {shapes} do not go together")
        self.tokens += len(targets)
        self._losses += [token_losses(logits, targets).sum(), token_losses(reference, targets).sum()]
        self._agreed += int((logits.argmax(axis=-1) == reference.argmax(axis=-1)).sum())
        self._divergence += float(divergences(logits, reference).sum())

    def figures(self) -> dict[str, float]:
        """Return perplexities, the share of tokens both would say next, and the mean divergence in nats."""
        own, other = np.exp(self._losses / max(self.tokens, 1))
        return {
            "perplexity": float(own),
            "reference_perplexity": float(other),
            "next_token_agreement": self._agreed / max(self.tokens, 1),
            "kl_divergence": self._divergence / max(self.tokens, 1),
        }


def divergences(logits: Floats, reference: Floats) -> NDArray[np.float64]:
    """Return the Kullback-Leibler divergence of each distribution from the reference's, KL(reference || own), in nats.

    Args:
        logits: [tokens, vocabulary].
        reference: of the same shape.
    """
    own, other = _log_softmax(logits), _log_softmax(reference)
    return (np.exp(other) * (other - own)).sum(axis=-1)


def _log_softmax(logits: Floats) -> NDArray[np.float64]:
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
