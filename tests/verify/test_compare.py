from importlib import import_module

import numpy as np
import pytest

from npuopt.verify import compare
from npuopt.verify.compare import compare_runs


def test_equal_tensors_are_equal() -> None:
    found = compare(np.array([1.0, -2.0]), np.array([1.0, -2.0]))
    assert (found.cosine, found.sqnr_db, found.max_abs) == (pytest.approx(1.0), float("inf"), 0.0)


def test_sqnr_is_the_ratio_of_energies() -> None:
    reference = np.array([3.0, 4.0])
    assert compare(reference, reference + np.array([0.3, 0.4])).sqnr_db == pytest.approx(20.0)


def test_opposite_tensors_have_cosine_minus_one() -> None:
    assert compare(np.ones(5), -np.ones(5)).cosine == pytest.approx(-1.0)


def test_zero_reference_and_zero_result_are_equal_but_noise_is_not() -> None:
    assert compare(np.zeros(3), np.zeros(3)).cosine == 1.0
    assert compare(np.zeros(3), np.ones(3)).cosine == 0.0
    assert compare(np.zeros(3), np.ones(3)).sqnr_db == float("-inf")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_non_finite_value_is_never_a_good_match(bad: float) -> None:
    found = compare(np.array([1.0, 2.0]), np.array([1.0, bad]))
    assert found.max_abs == float("inf")
    assert not found.cosine > 0.9


def test_the_same_non_finite_value_on_both_sides_is_equal() -> None:
    tensor = np.array([1.0, np.nan, -np.inf])
    assert compare(tensor, tensor.copy()).max_abs == 0.0


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        compare(np.zeros((2, 3)), np.zeros((3, 2)))


def test_empty_tensors_are_equal() -> None:
    assert compare(np.zeros((0, 3)), np.zeros((0, 3))).max_abs == 0.0


def test_samples_of_another_size_are_counted_and_left_out() -> None:
    reference = [{"y": np.ones((2, 3))}, {"y": np.ones((1, 3))}]
    found = compare_runs(reference, [{"y": np.ones((2, 3))}, {"y": np.ones((4, 3))}])["y"]
    assert (found.elements, found.other_size, found.max_abs) == (6, 1, 0.0)


def test_nothing_of_the_same_size_is_no_match() -> None:
    found = compare_runs([{"y": np.ones(2)}], [{"y": np.ones(3)}])["y"]
    assert (found.elements, found.other_size) == (0, 1)
    assert not found.cosine > 0.9


def test_runs_are_compared_as_one_long_vector_in_blocks(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    reference = [{"y": rng.normal(size=size)} for size in (5, 11, 1)]
    got = [{"y": run["y"] + 0.1 * rng.normal(size=run["y"].size)} for run in reference]
    whole = compare(np.concatenate([run["y"] for run in reference]), np.concatenate([run["y"] for run in got]))
    monkeypatch.setattr(import_module("npuopt.verify.compare"), "BLOCK", 4)
    found = compare_runs(reference, got)["y"]
    assert vars(found) == pytest.approx(vars(whole))
    got[1]["y"][7] = np.nan
    assert np.isnan(compare_runs(reference, got)["y"].cosine)
