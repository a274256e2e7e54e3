"""The benchmark of calibration: it measures processes, and judges by the bars."""

from __future__ import annotations

import pytest

from benchmarks.calibrate import Repeated, Row, measure


def test_a_small_model_is_measured():
    row = measure("fashion_mnist", 3, rounds=1, seconds=60)
    assert row.plain_seconds > 0
    assert row.seconds > 0
    assert row.mebibytes > 20
    assert row.weight_mebibytes == pytest.approx(0.1, abs=2)


@pytest.mark.parametrize(
    ("seconds", "mebibytes", "meets"), [(15, 450, True), (16, 450, False), (15, 451, False), (1, 50, True)]
)
def test_the_bars(seconds, mebibytes, meets):
    assert Row("model", 32, 100.0, 10.0, seconds, 400.0, mebibytes).meets_bars() is meets


def test_samples_come_again():
    samples = [{"x": index} for index in range(3)]
    assert [sample["x"] for sample in Repeated(samples, 7)] == [0, 1, 2, 0, 1, 2, 0]
