"""Looking at inner tensors: whole or summed up, in one go or in parts, the same numbers are seen."""

from __future__ import annotations

import numpy as np
import pytest

from npuopt.graph import to_text
from npuopt.quantization.calibration.looking import Look, Looker, Summary
from support.rewrites import model_from

MODEL = """(float[1,3,4,4] x) => (float[1,3,4,4] y) {
    a = Log(x)
    b = Exp(a)
    c = Softmax<axis=-1>(b)
    y = Neg(c)
}"""
SAMPLES = np.random.default_rng(0).uniform(0.5, 2, (3, 1, 3, 4, 4)).astype(np.float32)


def looker(model, limit=1 << 20, **options):
    values = [node.outputs[0] for node in model.graph]
    return Looker(model, [Look(value, **options) for value in values], limit=limit, threads=1)


@pytest.mark.parametrize("limit", [1, 300, 1 << 20])
def test_whole_tensors_are_the_same_however_the_model_is_cut(limit):
    model = model_from(MODEL)
    before = to_text(model)
    looking = looker(model, limit, whole=True)
    for sample in SAMPLES:
        seen = dict(looking.look([{"x": sample}]))
        assert list(seen) == ["a", "b", "c", "y"]
        np.testing.assert_allclose(seen["a"], np.log(sample), rtol=1e-5)
        np.testing.assert_allclose(seen["y"].sum(axis=-1), -1, rtol=1e-5)
    assert to_text(model) == before


def test_a_summary_says_what_numpy_says():
    looking = looker(model_from(MODEL), peak_axes=(-1, 1), mean_axes=(1,))
    for sample in SAMPLES:
        seen = dict(looking.look([{"x": sample}]))
        summary, expected = seen["a"], np.log(sample)
        assert isinstance(summary, Summary)
        assert (summary.low, summary.high) == pytest.approx((expected.min(), expected.max()), rel=1e-5)
        np.testing.assert_allclose(summary.peaks[-1], expected.max(axis=-1), rtol=1e-5)
        np.testing.assert_allclose(summary.peaks[1], expected.max(axis=1), rtol=1e-5)
        np.testing.assert_allclose(summary.means[1], expected.mean(axis=(0, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize(("bad", "odd"), [(0.0, -np.inf), (-1.0, np.nan)])
def test_numbers_that_are_not_finite_are_seen_as_they_are(bad, odd):
    looking = looker(model_from(MODEL))
    assert isinstance(dict(looking.look([{"x": SAMPLES[0]}]))["a"], Summary)
    sample = SAMPLES[1].copy()
    sample[0, 1, 2, 3] = bad
    with np.errstate(invalid="ignore"):
        seen = dict(looking.look([{"x": sample}]))["a"]
    np.testing.assert_equal(seen[0, 1, 2, 3], np.float32(odd))
    assert np.isfinite(np.delete(seen.reshape(-1), 27)).all()


@pytest.mark.parametrize(
    "text",
    [
        "(float16[3] x) => (float16[3] y) {y = Neg(x)}",
        "(float[N] x) => (float[N] y) {y = Neg(x)}",
        "(float[3] x) => (float[0] y) <int64[1] none = {0}> {y = Slice(x, none, none)}",
    ],
)
def test_what_the_runtime_does_not_sum_up_is_seen_whole(text):
    model = model_from(text)
    sample = np.arange(3, dtype=np.float16 if "float16" in text else np.float32)
    seen = dict(looker(model).look([{"x": sample}]))
    assert isinstance(seen["y"], np.ndarray)
