import numpy as np
import pytest

from npuopt.errors import ToolchainMissingError
from npuopt.evaluate.scores import confidence_interval, extra, ratio


def test_a_ratio_of_sums_over_chosen_samples():
    scores = ratio([(1.0, 2.0), (3.0, 2.0), (0.0, 4.0)])
    assert scores.total == 0.5
    assert scores.value(np.array([1, 1, 0])) == pytest.approx(7 / 6)
    assert ratio([(2.0, 1.0)], np.exp).total == pytest.approx(np.exp(2.0))
    assert np.isnan(ratio([(0.0, 0.0)]).total)


def test_the_interval_of_a_mean_is_that_of_theory():
    numbers = np.random.default_rng(0).normal(size=400)
    scores = ratio([(number, 1.0) for number in numbers])
    low, high = confidence_interval(scores.value, 400, resamples=2000) or (0.0, 0.0)
    half = 1.96 * numbers.std() / 20
    assert low == pytest.approx(numbers.mean() - half, abs=0.02)
    assert high == pytest.approx(numbers.mean() + half, abs=0.02)


def test_a_paired_difference_is_surer_than_two_models_apart():
    generator = np.random.default_rng(1)
    hard = generator.random(500) < 0.3
    slips = generator.random(500) < 0.01
    one = ratio([(float(not bad), 1.0) for bad in hard])
    two = ratio([(float(not bad and not slip), 1.0) for bad, slip in zip(hard, slips, strict=True)])
    apart = confidence_interval(one.value, 500) or (0.0, 0.0)
    paired = confidence_interval(lambda chosen: two.value(chosen) - one.value(chosen), 500) or (0.0, 0.0)
    assert paired[1] - paired[0] < (apart[1] - apart[0]) / 3
    assert paired[1] <= 0


def test_the_seed_decides_and_one_sample_says_nothing():
    scores = ratio([(1.0, 1.0), (0.0, 1.0), (1.0, 1.0)])
    intervals = [confidence_interval(scores.value, 3, resamples=20, seed=seed) for seed in (3, 3)]
    assert intervals[0] == intervals[1]
    assert confidence_interval(scores.value, 1) is None


def test_a_library_that_is_not_there():
    with pytest.raises(
        ToolchainMissingError, match=r"no_such_library is not installed; pip install 'npuopt\[evaluate\]'"
    ):
        extra("no_such_library.inner")
