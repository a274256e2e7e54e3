import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.evaluate import ctc_greedy_decode, exact_match

CHARACTERS = ["<blank>", "a", "b"]


def lines(*paths: list[int]) -> np.ndarray:
    return np.eye(len(CHARACTERS), dtype=np.float32)[np.array(paths)]


def test_repeats_merge_unless_a_blank_lies_between() -> None:
    assert ctc_greedy_decode(lines([1, 1, 2, 0, 2, 2], [0, 0, 0, 0, 0, 0]), CHARACTERS) == ["abb", ""]


def test_the_blank_may_be_any_class() -> None:
    assert ctc_greedy_decode(lines([0, 2, 0]), ["a", "b", "<blank>"], blank=2) == ["aa"]


def test_a_dictionary_of_another_model_is_refused() -> None:
    with pytest.raises(InputError, match="2 characters for 3 classes"):
        ctc_greedy_decode(lines([0, 1]), CHARACTERS[:2])


def test_exact_match_is_to_the_letter() -> None:
    assert exact_match(["abc", "abd", "x "], ["abc", "abD", "x"]) == pytest.approx(1 / 3)


def test_exact_match_of_nothing_is_an_error() -> None:
    with pytest.raises(InputError, match="cannot be compared"):
        exact_match([], [])
