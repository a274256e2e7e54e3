"""What `quantize` says of calibration data, and the options of calibration."""

from __future__ import annotations

import json

import numpy as np
import pytest

from support.command import complaint, npuopt
from support.toy_road import toy_files

X = np.random.default_rng(0).normal(size=(6, 1, 4)).astype(np.float32)


@pytest.fixture
def quantize(tmp_path):
    """Quantize the toy model with more options."""
    chip, model, _ = toy_files(tmp_path / "inputs")

    def run(data, *options):
        arguments = ("-t", chip, "--dim", "batch=1", "--precision", "a8w8", "-o", tmp_path / "q.onnx")
        return npuopt("quantize", model, *arguments, "--calibration", data, *options)

    return run


def test_what_data_shows_is_on_record(quantize, tmp_path):
    x = X.copy()
    x[5] = x[0]
    np.savez(tmp_path / "c.npz", x=x)
    done = quantize(tmp_path / "c.npz", "--calibration-method", "percentile{percentile=99.5}", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)["calibration"]
    assert record["method"] == "percentile{percentile=99.5}"
    assert (record["samples"], record["repeated"]) == (6, 1)
    assert record["inputs"][0]["name"] == "x"
    assert record["notes"][0] == "1 of 6 samples are equal to an earlier one and add nothing"
    assert "note: 1 of 6 samples" in quantize(tmp_path / "c.npz").stdout


def test_a_set_that_is_too_small_is_warned_of(quantize, tmp_path):
    np.savez(tmp_path / "c.npz", x=X[:1])
    done = quantize(tmp_path / "c.npz", "--json")
    assert "warning: a single calibration sample" in done.stderr
    assert json.loads(done.stdout)["calibration"]["ranges"]["too_small"] is True


def test_random_data_is_marked_and_warned_of(quantize):
    done = quantize("random", "--json")
    assert done.returncode == 0, done.stderr
    assert "warning: calibrated with random numbers" in done.stderr
    result = json.loads(done.stdout)
    assert result["calibration"]["calibration"] == "random"
    assert result["steps"] == [], "nothing is learned from noise"


def test_steps_that_are_asked_for_run_on_random_data_too(quantize):
    result = json.loads(quantize("random", "--json", "--step", "round-weights").stdout)
    assert [step["name"] for step in result["steps"]] == ["round-weights"]


def test_a_state_of_other_data_is_refused(quantize, tmp_path):
    np.savez(tmp_path / "c.npz", x=X)
    assert quantize(tmp_path / "c.npz", "--calibration-state", tmp_path / "state").returncode == 0
    before = (tmp_path / "q.onnx").read_bytes()
    assert quantize(tmp_path / "c.npz", "--calibration-state", tmp_path / "state").returncode == 0
    assert (tmp_path / "q.onnx").read_bytes() == before, "what is known gives the same model as what is run"
    (tmp_path / "q.onnx").unlink()
    done = quantize("random", "--calibration-state", tmp_path / "state")
    assert "belongs to other calibration data" in complaint(done, 3)
    assert not (tmp_path / "q.onnx").exists()
