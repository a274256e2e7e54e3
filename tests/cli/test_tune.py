"""`npuopt tune`: a quantized model that learned, and what it says when it cannot."""

import json

import numpy as np
import pytest

from npuopt.graph import Session
from support.command import complaint, npuopt
from support.toy_road import toy_files


@pytest.fixture
def files(tmp_path):
    chip, model, _ = toy_files(tmp_path)
    data = tmp_path / "many.npz"
    np.savez(data, x=np.random.default_rng(0).normal(size=(24, 1, 4)).astype(np.float32))
    return chip, model, data


@pytest.fixture
def tune(files, tmp_path):
    chip, model, data = files

    def run(*options, precision="a8w8", source=model):
        fixed = ("-t", chip, "-o", tmp_path / "t.onnx", "--dim", "batch=1", "--calibration", data)
        return npuopt("tune", source, *fixed, "--precision", precision, *options)

    return run


def test_the_tuned_float_model_and_its_encodings_quantize_to_the_same(tune, files, tmp_path):
    made = tune("--epochs", 2, "--float-output", tmp_path / "f.onnx", "--save-encodings", tmp_path / "e.json", "--json")
    document = json.loads(made.stdout)
    assert len(document["losses"]) == 3
    assert document["losses"][document["best"]] == min(document["losses"])
    assert document["outputs"]["y"]["cosine"] > 0.99
    given = ("--precision", "a8w8", "--encodings", tmp_path / "e.json", "-o", tmp_path / "q.onnx")
    assert npuopt("quantize", tmp_path / "f.onnx", "-t", files[0], *given).returncode == 0
    feeds = {"x": np.array([[0.5, -1, 2, 0.25]], np.float32)}
    wanted = Session(tmp_path / "t.onnx").run(feeds)["y"]
    np.testing.assert_allclose(Session(tmp_path / "q.onnx").run(feeds)["y"], wanted, atol=1e-5)


def test_learning_starts_where_quantizing_ends(tune, files, tmp_path):
    chip, model, data = files
    assert tune("--epochs", 1, "--weight-rate", 0, "--scale-rate", 0).returncode == 0
    given = ("--precision", "a8w8", "--dim", "batch=1", "--calibration", data, "--no-step", "widen-activations")
    assert npuopt("quantize", model, "-t", chip, *given, "-o", tmp_path / "q.onnx").returncode == 0
    feeds = {"x": np.array([[0.5, -1, 2, 0.25]], np.float32)}
    wanted = Session(tmp_path / "q.onnx").run(feeds)["y"]
    np.testing.assert_allclose(Session(tmp_path / "t.onnx").run(feeds)["y"], wanted, atol=1e-5)


def test_what_was_learned_is_said(tune):
    said = tune("--epochs", 1).stdout
    assert "distance from the float model" in said
    assert "SQNR dB" in said


def test_the_best_epoch_is_chosen_by_samples_of_its_own(tune, files, tmp_path):
    own = tmp_path / "own.npz"
    np.savez(own, x=1000 * np.ones((1, 1, 4), np.float32))
    shares, given = (
        json.loads(tune("--epochs", 1, "--loss", "error", "--json", *options).stdout)["losses"][0]
        for options in ((), ("--held-out", own))
    )
    assert given > 0.5 > shares  # what is a thousand times larger than anything calibrated saturates


def test_a_teacher_of_its_own(tune, files):
    assert tune("--epochs", 1, "--teacher", files[1]).returncode == 0


@pytest.mark.parametrize(
    ("options", "precision", "code", "because"),
    [
        ((), "fp16", 2, "holds no activations in integers"),
        (("--inner", "nothing"), "a8w8", 2, "no inner tensor nothing"),
        (("--epochs", 0), "a8w8", 2, "epochs"),
    ],
)
def test_what_cannot_be_tuned_is_said_in_one_sentence(tune, tmp_path, options, precision, code, because):
    ended = tune(*options, precision=precision)
    assert because in complaint(ended, code)
    assert not (tmp_path / "t.onnx").exists()


def test_a_model_that_is_quantized_already_is_refused(tune, tmp_path):
    assert tune("--epochs", 1).returncode == 0
    (tmp_path / "t.onnx").rename(tmp_path / "done.onnx")
    ended = tune(source=tmp_path / "done.onnx")
    assert "quantized already" in complaint(ended, 2)
