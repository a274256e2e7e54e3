"""Ranges: what calibration finds, and that it streams."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from npuopt.errors import InputError, UsageError
from npuopt.graph import execution, to_text
from npuopt.graph.execution import Session
from npuopt.quantization import LeastSquares, MinMax, MovingAverage, Percentile, calibrate, open_samples
from npuopt.quantization.calibration.histograms import BINS, Histogram
from support.rewrites import model_from

SMALL = """(float[4] x) => (float[4] y, float[2,2] z)
<float[4] w = {1, 2, 3, 4}, int64[2] shape = {2, 2}>
{
    negative = Neg(x)
    moved = Reshape(negative, shape)
    y = Mul(x, w)
    z = Relu(moved)
}"""


def samples_of(tmp_path, model, **arrays):
    np.savez(tmp_path / "samples.npz", **arrays)
    return open_samples(tmp_path / "samples.npz", model)


def test_every_float_tensor_has_its_least_and_greatest_number(tmp_path):
    model = model_from(SMALL)
    before = to_text(model)
    samples = samples_of(tmp_path, model, x=np.array([[1, 0, 0, -3], [2, 1, 1, 1]], np.float32))
    calls = []
    ranges = calibrate(model, samples, progress=lambda done, total: calls.append((done, total)))
    found = {name: (seen.low, seen.high) for name, seen in ranges.tensors.items()}
    assert found == {"x": (-3, 2), "negative": (-2, 3), "moved": (-2, 3), "y": (-12, 4), "z": (0, 3)}
    assert (ranges.samples, ranges.method) == (2, "minmax")
    assert calls == [(1, 2), (2, 2)]
    assert to_text(model) == before, "the model comes back as it was"


@pytest.mark.parametrize("method", [MinMax(), Percentile(100)])
def test_a_model_with_many_activations_is_run_in_parts(tmp_path, method):
    model = model_from(SMALL)
    samples = samples_of(tmp_path, model, x=np.array([[1, 0, 0, -3], [2, 1, 1, 1]], np.float32))
    calls = []
    ranges = calibrate(model, samples, method, tap_bytes=16, progress=lambda *call: calls.append(call))
    assert ranges.tensors == calibrate(model, samples).tensors
    assert calls == [(1, 2), (2, 2)], "each sample is run once"


@pytest.mark.parametrize("method", [MinMax(), MovingAverage(0.2), LeastSquares()])
@pytest.mark.parametrize("odd", [False, True])
def test_samples_that_run_side_by_side_give_the_same(tmp_path, method, odd):
    """Whatever the number of threads, so that the ranges do not depend on the machine."""
    model = model_from("(float[40] x) => (float[40] y) { a = Log(x) y = Neg(a) }")
    x = np.random.default_rng(0).uniform(1, 2, (7, 40)).astype(np.float32)
    x[2, 5] = 0 if odd else 1  # its logarithm is minus infinity, so that its sample is run once more
    samples = samples_of(tmp_path, model, x=x)
    alone = calibrate(model, samples, method, threads=1)
    for threads in (2, 3):
        calls = []
        assert calibrate(model, samples, method, threads=threads, progress=lambda *call: calls.append(call)) == alone  # noqa: B023 -- called in this round only
        assert len(calls) == {2: 4, 3: 3}[threads], "a batch ends at half of the samples, where ranges are noted"


@pytest.mark.parametrize("method", [MinMax(), Percentile(100)])
def test_a_model_larger_than_memory_is_run_part_by_part(tmp_path, method, monkeypatch):
    """Each part is opened once for all samples that wait for it, and closed before the next one."""
    model = model_from("""(float[2,2] x) => (float[2,2] y)
    <float[2,2] a = {1,2,3,4}, float[2,2] b = {5,6,7,8}, float[2,2] c = {1,0,0,1}>
    { p = MatMul(x, a) q = MatMul(p, b) r = MatMul(q, c) s = Add(r, p) y = Neg(s) }""")
    x = np.random.default_rng(0).normal(size=(5, 2, 2)).astype(np.float32)
    samples = samples_of(tmp_path, model, x=x)
    opened = []
    monkeypatch.setattr(execution, "Session", lambda part, **options: opened.append(part) or Session(part, **options))
    ranges = calibrate(model, samples, method, weight_bytes=20)
    assert len(opened) == 3, "one part for each weight"
    assert all(sum(value.const_value.nbytes for value in part.graph.initializers.values()) <= 20 for part in opened)
    assert ranges.tensors == calibrate(model, samples, method).tensors


def test_percentiles_leave_out_rare_numbers(tmp_path):
    model = model_from("(float[10000] x) => (float[10000] z) {y = Neg(x) z = Abs(y)}")
    x = np.random.default_rng(0).uniform(0, 1, (3, 10000)).astype(np.float32)
    x[1, 7] = 1000
    samples = samples_of(tmp_path, model, x=x)
    seen = calibrate(model, samples, Percentile(99.9)).tensors["y"]
    assert calibrate(model, samples, MinMax()).tensors["y"].low == -1000
    assert seen.low == pytest.approx(-1, abs=1000 / BINS * 4)
    with pytest.raises(UsageError, match="percentile 40"):
        Percentile(40)


@settings(max_examples=50)
@given(st.lists(arrays(np.float32, 50, elements=st.floats(-1e4, 1e4, width=32)), min_size=1, max_size=6))
def test_a_histogram_that_grows_agrees_with_all_numbers_at_once(parts):
    histogram = Histogram()
    for part in parts:
        histogram.update(part)
    everything = np.sort(np.concatenate(parts).astype(np.float64))
    low, high = histogram.percentile(0.1), histogram.percentile(0.9)
    span = max(everything[-1] - everything[0], np.abs(everything).max() * 1e-6, 1e-30)
    cell = 2.1 * span / (BINS // 2)
    index = 0.9 * everything.size
    assert (
        everything[int(np.floor(index)) - 1] - cell
        <= high
        <= everything[min(int(np.ceil(index)), everything.size - 1)] + cell
    )
    assert everything[0] <= low <= high <= everything[-1]
    outside = np.mean((everything < low - cell) | (everything > high + cell))
    inside = np.mean((everything >= low + cell) & (everything <= high - cell))
    assert outside - 1e-9 <= histogram.outside(low, high) <= 1 - inside + 1e-9
    assert histogram.outside(everything[0], everything[-1]) == 0


def test_a_histogram_does_not_depend_on_the_order():
    rng = np.random.default_rng(1)
    parts = [rng.normal(0, 10.0**k, 500) for k in range(4)]
    forwards, backwards = Histogram(), Histogram()
    for part in parts:
        forwards.update(part)
    for part in reversed(parts):
        backwards.update(part)
    assert forwards.percentile(0.99) == pytest.approx(backwards.percentile(0.99), rel=0.01)


def test_softmax_inputs_keep_the_least_peak_of_a_row(tmp_path):
    model = model_from("(float[2,3] x) => (float[2,3] y) {scores = Neg(x) y = Softmax<axis=-1>(scores)}")
    x = -np.array([[[1, 7, 2], [-3, -5, -200]], [[-200, -200, -200], [4, 4, 4]]], np.float32)
    ranges = calibrate(model, samples_of(tmp_path, model, x=x))
    assert ranges.tensors["scores"].row_peak == -3, "and not -200, of the row that is masked as a whole"
    assert ranges.tensors["x"].row_peak is None


def test_minus_infinity_of_masks_is_left_out(tmp_path):
    model = model_from("(float[2] x) => (float[2] y) {l = Log(x) y = Exp(l)}")
    ranges = calibrate(model, samples_of(tmp_path, model, x=np.array([[0, 1]], np.float32)))
    assert (ranges.tensors["l"].low, ranges.tensors["l"].high) == (0, 0)


def test_nan_inside_the_model_is_named(tmp_path):
    model = model_from("(float[2] x) => (float[2] y) {l = Log(x) y = Exp(l)}")
    with pytest.raises(InputError, match="l: the float model computes NaN"):
        calibrate(model, samples_of(tmp_path, model, x=np.array([[-1, 1]], np.float32)))


def test_half_precision_models_are_calibrated(tmp_path):
    model = model_from("(float16[2] x) => (float16[2] y) {y = Neg(x)}")
    ranges = calibrate(model, samples_of(tmp_path, model, x=np.array([[-1, 2]], np.float16)))
    assert (ranges.tensors["y"].low, ranges.tensors["y"].high) == (-2, 1)
