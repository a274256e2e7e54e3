"""Inputs and outputs of the first calibration samples are kept where they are wanted and small."""

import numpy as np
import pytest

from npuopt.graph.execution import Session
from npuopt.quantization import Percentile, calibrate, open_samples
from npuopt.quantization.calibration import first_runs as module
from support.rewrites import model_from

TEXT = "(float[4] x) => (float[4] y, int64[4] z) { a = Neg(x) y = Exp(a) z = Cast<to=7>(y) }"
X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


@pytest.fixture
def samples(tmp_path):
    model = model_from(TEXT)
    np.savez(tmp_path / "samples.npz", x=X)
    return model, open_samples(tmp_path / "samples.npz", model)


@pytest.mark.parametrize("method", [None, Percentile(99)])
@pytest.mark.parametrize(("wanted", "kept"), [(0, 0), (3, 3), (9, 5)])
def test_they_are_those_of_the_model(samples, method, wanted, kept):
    model, data = samples
    ranges = calibrate(model, data, method, first=wanted)
    assert len(ranges.first) == kept
    session = Session(model)
    for x, (inputs, outputs) in zip(X, ranges.first, strict=False):
        np.testing.assert_array_equal(inputs["x"], x)
        expected = session.run(inputs)
        assert list(outputs) == ["y", "z"]
        np.testing.assert_allclose(outputs["y"], expected["y"], rtol=1e-6)
        np.testing.assert_array_equal(outputs["z"], expected["z"])
    assert ranges == calibrate(model, data, method), "the ranges are those of a calibration that keeps nothing"


def test_large_outputs_are_left_to_others(samples, monkeypatch):
    model, data = samples
    monkeypatch.setattr(module, "LARGEST_OUTPUTS", 4 * 8 - 1)
    assert not calibrate(model, data, first=2).first


def test_an_output_that_no_node_makes_is_left_to_others(tmp_path):
    model = model_from("(float[4] x) => (float[4] x, float[4] y) { y = Neg(x) }")
    np.savez(tmp_path / "samples.npz", x=X)
    assert not calibrate(model, open_samples(tmp_path / "samples.npz", model), first=2).first


def test_samples_that_an_earlier_calibration_ran_are_left_to_others(samples, tmp_path):
    model, data = samples
    calibrate(model, data.first(2), state=tmp_path / "state")
    assert not calibrate(model, data, state=tmp_path / "state", first=3).first
