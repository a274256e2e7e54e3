"""Tokens are drawn as the options say."""

import numpy as np
import pytest

from npuopt.errors import InputError, UsageError
from npuopt.runtime.generation.sampling import Sampler, Sampling

LOGITS = np.log(np.array([0.05, 0.4, 0.15, 0.3, 0.1], np.float32))


def drawn(options: Sampling, count: int = 2000, seen=()) -> np.ndarray:
    sampler = Sampler(options)
    return np.bincount([sampler.choose(LOGITS, seen).token for _ in range(count)], minlength=5) / count


def test_greedy_takes_the_most_probable_token_and_says_how_sure_it_is() -> None:
    choice = Sampler(Sampling()).choose(LOGITS)
    assert choice.token == 1
    assert choice.log_probability == pytest.approx(np.log(0.4), abs=1e-6)
    assert choice.entropy == pytest.approx(-sum(p * np.log(p) for p in (0.05, 0.4, 0.15, 0.3, 0.1)), abs=1e-6)


def test_temperature_one_draws_from_the_models_own_distribution() -> None:
    np.testing.assert_allclose(drawn(Sampling(temperature=1.0)), np.exp(LOGITS), atol=0.04)


def test_a_low_temperature_sharpens() -> None:
    assert drawn(Sampling(temperature=0.1))[1] > 0.9


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (Sampling(temperature=1.0, top_k=2), {1, 3}),
        (Sampling(temperature=1.0, top_p=0.7), {1, 3}),
        (Sampling(temperature=1.0, top_p=0.71), {1, 3, 2}),
        (Sampling(temperature=1.0, top_p=0.01), {1}),
        (Sampling(temperature=1.0, top_k=3, top_p=0.5), {1, 3}),
        (Sampling(temperature=1.0, top_k=50), {0, 1, 2, 3, 4}),
    ],
)
def test_cuts_keep_only_the_most_probable(options, kept) -> None:
    assert set(np.flatnonzero(drawn(options))) == kept


def test_what_is_kept_keeps_its_proportions() -> None:
    shares = drawn(Sampling(temperature=1.0, top_k=2), count=4000)
    assert shares[1] / shares[3] == pytest.approx(4 / 3, rel=0.15)


def test_a_penalty_turns_away_from_tokens_that_were_said() -> None:
    assert Sampler(Sampling(repetition_penalty=2.0)).choose(LOGITS, [1, 1]).token == 3
    positive = LOGITS + 5  # logits above 0 are divided, those below multiplied: both go down
    assert Sampler(Sampling(repetition_penalty=2.0)).choose(positive, [1, 3]).token == 2


def test_a_seed_repeats_and_another_differs() -> None:
    def draw(seed: int) -> list[int]:
        sampler = Sampler(Sampling(temperature=1.0, seed=seed))
        return [sampler.choose(LOGITS).token for _ in range(30)]

    assert draw(7) == draw(7) != draw(8)


def test_impossible_tokens_are_never_drawn() -> None:
    logits = np.where(np.arange(5) == 2, 0.0, -np.inf)
    assert Sampler(Sampling(temperature=1.0, top_p=0.5)).choose(logits).token == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers(bad) -> None:
    with pytest.raises(InputError, match="logits that are no numbers"):
        Sampler(Sampling()).choose(np.array([0.0, bad]))


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0},
        {"top_p": 1.5},
        {"repetition_penalty": 0},
        {"seed": -1},
    ],
)
def test_options_out_of_range(options) -> None:
    with pytest.raises(UsageError):
        Sampling(**options)
