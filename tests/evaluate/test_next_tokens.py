"""Two models' next tokens, compared."""

import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.evaluate.next_tokens import NextTokens, divergences

LOGITS = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))


def test_a_model_against_itself() -> None:
    totals = NextTokens()
    totals.add(LOGITS + 7, LOGITS, np.array([0, 2]))
    assert totals.figures() == pytest.approx(
        {
            "perplexity": np.exp(-(np.log(0.5) + np.log(0.8)) / 2),
            "reference_perplexity": np.exp(-(np.log(0.5) + np.log(0.8)) / 2),
            "next_token_agreement": 1.0,
            "kl_divergence": 0.0,
        }
    )


def test_the_divergence_is_from_the_reference() -> None:
    own, reference = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    expected = 0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5)
    assert divergences(own, reference) == pytest.approx([expected])


def test_windows_add_up() -> None:
    random = np.random.default_rng(0)
    own, reference, targets = random.normal(size=(6, 9)), random.normal(size=(6, 9)), random.integers(0, 9, 6)
    whole, parts = NextTokens(), NextTokens()
    whole.add(own, reference, targets)
    for part in (slice(0, 2), slice(2, 6)):
        parts.add(own[part], reference[part], targets[part])
    assert parts.figures() == pytest.approx(whole.figures())
    assert whole.figures()["next_token_agreement"] == (own.argmax(-1) == reference.argmax(-1)).mean()


def test_shapes_that_do_not_go_together() -> None:
    with pytest.raises(InputError, match="do not go together"):
        NextTokens().add(LOGITS, LOGITS[:, :2], np.array([0, 1]))
