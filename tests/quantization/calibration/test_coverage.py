"""What is said of calibration data: what it covers, what repeats, what never happens."""

from __future__ import annotations

import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.graph import to_text
from npuopt.quantization import calibrate, open_samples
from npuopt.quantization.calibration.coverage import CoverageObserver
from npuopt.quantization.calibration.movement import MovementObserver
from npuopt.quantization.ranges import Range
from support.rewrites import model_from

EMBEDDING = """(int64[1,4] ids, float[1,4] x, bool[1] flag) => (float[1,4,2] y, float[1,4] z, bool[1] f)
<float[8,2] table = {0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}>
{ y = Gather(table, ids) z = Neg(x) f = Not(flag) }"""


def coverage_of(**arrays):
    observer = CoverageObserver(model_from(EMBEDDING))
    count = len(next(iter(arrays.values())))
    for index in range(count):
        sample = {
            "ids": np.zeros((1, 4), np.int64),
            "x": np.zeros((1, 4), np.float32),
            "flag": np.array([True]),
            **{name: array[index] for name, array in arrays.items()},
        }
        observer.update(sample)
    return observer.result()


def inputs_of(coverage):
    return {item.name: item for item in coverage.inputs}


def test_ids_are_counted_against_the_table_that_they_index():
    found = coverage_of(ids=np.array([[[0, 1, 1, -1]], [[0, 1, 2, 2]]]))
    ids = inputs_of(found)["ids"]
    assert (ids.rows, ids.covered, ids.low, ids.high) == (8, 4 / 8, -1, 2)
    assert "input ids covers 4 of 8 ids (50.0%)" in found.notes()
    assert inputs_of(found)["flag"].covered is None


@pytest.mark.parametrize("bad", [8, -9, 2**40])
def test_ids_beyond_the_table_are_refused(bad):
    with pytest.raises(InputError, match=rf"sample 1, input ids: id {bad} is outside of the 8 rows"):
        coverage_of(ids=np.array([[[0, 1, 1, -1]], [[0, bad, 2, 2]]]))


def test_floats_are_counted_against_their_own_range():
    even = inputs_of(coverage_of(x=np.linspace(-1, 1, 800, dtype=np.float32).reshape(200, 1, 4)))["x"]
    assert even.covered == 1
    assert not even.has_outliers
    lumps = np.where(np.arange(800) % 2, 1, -1).astype(np.float32).reshape(200, 1, 4)
    found = coverage_of(x=lumps)
    assert inputs_of(found)["x"].covered == pytest.approx(2 / 64)
    assert any("numbers in only 3% of its range from -1 to 1" in note for note in found.notes())


def test_outliers_are_told_with_what_is_usual():
    x = np.random.default_rng(0).normal(size=(2000, 1, 4)).astype(np.float32)
    x[7, 0, 0] = 1000
    found = coverage_of(x=x)
    assert inputs_of(found)["x"].has_outliers
    (note,) = [note for note in found.notes() if "outliers" in note]
    assert "1000, and 99.8 % of its numbers lie between -3" in note


def test_what_never_changes_and_what_comes_again_is_told():
    x = np.random.default_rng(0).normal(size=(4, 1, 4)).astype(np.float32)
    x[3] = x[1]
    found = coverage_of(x=x)
    assert found.repeated == 1
    assert [item.name for item in found.inputs if item.constant] == ["ids", "flag"]
    assert found.notes()[0] == "1 of 4 samples are equal to an earlier one and add nothing"
    assert not any(item.constant for item in coverage_of(x=x[:1]).inputs), "one sample says nothing about change"


def test_the_digest_tells_samples_and_their_order_apart():
    digests = set()
    for ids in ([[[0, 1, 2, 3]], [[1, 1, 1, 1]]], [[[1, 1, 1, 1]], [[0, 1, 2, 3]]], [[[0, 1, 2, 3]]]):
        observer = CoverageObserver(model_from(EMBEDDING))
        for sample in np.array(ids):
            observer.update({"ids": sample, "x": np.zeros((1, 4), np.float32), "flag": np.array([True])})
        digests.add(observer.digest)
    assert len(digests) == 3


@pytest.mark.parametrize("count", [8, None])
def test_ranges_that_still_grow_late_call_for_more_samples(count):
    def run(widths):
        observer = MovementObserver(count)
        for done, width in enumerate(widths, start=1):
            observer.update(done, [Range(-width, width), Range(0, 1)])
        return observer.result(len(widths), [Range(-widths[-1], widths[-1]), Range(0, 1)])

    settled, growing = run([1, 2, 2, 2, 2, 2, 2, 2]), run([1, 1, 1, 1, 1, 1, 1, 2])
    assert (settled.early, settled.still_moving, settled.warning()) == (4, 0, "")
    assert (growing.still_moving, growing.median) == (0.5, 0.25)
    assert "after sample 4 of 8, 50% of the ranges still grew" in growing.warning()


def test_a_single_sample_is_too_few():
    observer = MovementObserver(1)
    observer.update(1, [Range(0, 1)])
    assert "a single calibration sample" in observer.result(1, [Range(0, 1)]).warning()


IF = """(float[2] x) => (float[2] y) <float zero = {0}, int64[1] axis = {0}> {
    total = ReduceSum<keepdims=0>(x, axis)
    positive = Greater(total, zero)
    y = If (positive) <then_branch = t () => (float[2] p) { p = Neg(x) }, else_branch = e () => (float[2] q) { q = Abs(x) }>
}"""  # noqa: E501 -- the text form has no line break inside attributes


def test_branches_that_never_run_are_refused(tmp_path):
    model = model_from(IF)
    before = to_text(model)
    np.savez(tmp_path / "s.npz", x=np.array([[1, 2], [3, 4]], np.float32))
    with pytest.raises(InputError, match=r"no calibration sample takes the else branch"):
        calibrate(model, open_samples(tmp_path / "s.npz", model))
    np.savez(tmp_path / "s.npz", x=np.array([[1, 2], [-3, -4]], np.float32))
    ranges = calibrate(model, open_samples(tmp_path / "s.npz", model))
    assert (ranges.tensors["y"].low, ranges.tensors["y"].high) == (-2, 4)
    assert to_text(model) == before


def test_random_data_fits_the_inputs_and_is_the_same_each_time(tmp_path):
    model = model_from(EMBEDDING)
    samples = open_samples("random", model)
    first, second = list(samples), list(samples)
    assert samples.count == len(first)
    for one, other in zip(first, second, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)
    ids = np.stack([sample["ids"] for sample in first])
    assert 0 <= ids.min() < ids.max() <= 7
    ranges = calibrate(model, samples)
    assert ranges.tensors["y"].high <= 15
    assert ranges.data is not None
    assert ranges.data.coverage.repeated == 0
