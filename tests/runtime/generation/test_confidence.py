"""Doubt is a mean over the latest tokens that passes a threshold."""

import pytest

from npuopt.errors import UsageError
from npuopt.runtime.generation.confidence import Confidence, Thresholds
from npuopt.runtime.generation.sampling import Choice


def after(thresholds: Thresholds, *choices: tuple[float, float]) -> str:
    confidence = Confidence(thresholds)
    for log_probability, entropy in choices:
        confidence.add(Choice(0, log_probability, entropy))
    return confidence.doubt()


def test_no_threshold_no_doubt() -> None:
    assert after(Thresholds(window=1), (-99.0, 99.0)) == ""


def test_too_few_tokens_say_nothing() -> None:
    assert after(Thresholds(min_log_probability=-1, window=3), (-9.0, 0.0), (-9.0, 0.0)) == ""


def test_only_the_latest_tokens_count() -> None:
    thresholds = Thresholds(min_log_probability=-3, window=2)
    assert after(thresholds, (-9.0, 0.0), (-2.0, 0.0), (-3.0, 0.0)) == ""
    assert after(thresholds, (0.0, 0.0), (-3.0, 0.0), (-4.0, 0.0)) == "mean log-probability -3.500 is below -3"


def test_entropy_has_its_own_threshold() -> None:
    assert after(Thresholds(max_entropy=2, window=2), (0.0, 1.0), (0.0, 4.0)) == "mean entropy 2.500 is above 2"


@pytest.mark.parametrize("bad", [{"window": 0}, {"min_log_probability": 1}, {"max_entropy": -1}])
def test_thresholds_that_are_none(bad) -> None:
    with pytest.raises(UsageError):
        Thresholds(**bad)
