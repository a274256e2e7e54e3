"""`npuopt quantize` runs what it made before it calls it done, and says what it found."""

import json

import numpy as np
import pytest

from npuopt.graph import save
from support.command import complaint, npuopt
from support.rewrites import model_from
from support.toy_road import toy_files


@pytest.fixture
def quantize(tmp_path):
    chip, model, data = toy_files(tmp_path / "inputs")
    fixed = ("-t", chip, "-o", tmp_path / "q.onnx", "--precision", "a8w8", "--dim", "batch=1")

    def run(*options, given=("--calibration", data)):
        return npuopt("quantize", model, *fixed, *given, *options)

    return run


@pytest.fixture
def changed(quantize, tmp_path):
    """Encodings as they were found, with something changed."""
    assert quantize("--save-encodings", tmp_path / "e.json").returncode == 0
    (tmp_path / "q.onnx").unlink()

    def change(tensor, **fields):
        document = json.loads((tmp_path / "e.json").read_text())
        document["tensors"].setdefault(tensor, {**document["tensors"]["x"]}).update(fields)
        (tmp_path / "e.json").write_text(json.dumps(document))
        return ("--encodings", tmp_path / "e.json")

    return change


def test_the_result_is_compared_with_float(quantize):
    document = json.loads(quantize("--json").stdout)
    assert document["samples"] == 3
    assert document["outputs"]["y"]["cosine"] > 0.999
    assert 20 < document["outputs"]["y"]["sqnr_db"] < 60
    assert document["findings"] == []
    assert "SQNR dB" in quantize().stdout


def test_nothing_is_run_but_the_calibration_where_that_is_wanted(quantize, tmp_path):
    verified = json.loads(quantize("--json").stdout)
    written = (tmp_path / "q.onnx").read_bytes()
    document = json.loads(quantize("--json", "--verify", "off").stdout)
    assert document["outputs"] == {}
    assert document["encodings"] == verified["encodings"]
    assert (tmp_path / "q.onnx").read_bytes() == written


def test_what_is_clipped_is_said_by_name(quantize, changed):
    given = changed("p", scale=0.01)
    assert "note: p: " in quantize(given=given).stdout
    findings = json.loads(quantize("--json", given=given).stdout)["findings"]
    assert {finding["kind"] for finding in findings if finding["tensor"] == "p"} == {"clipped"}


@pytest.mark.parametrize(
    ("tensor", "fields", "words"),
    [
        ("nowhere", {}, "a tensor that the model does not have: nowhere"),
        ("p", {"scale": 0}, "tensors.p.scale.0: Input should be greater than"),
        ("p", {"scale": -1.0}, "tensors.p.scale.0: Input should be greater than"),
        ("p", {"scale": 1e-60}, "tensors.p.scale.0: Input should be greater than"),
        ("p", {"scale": 1e60}, "tensors.p.scale.0: Input should be less than"),
        ("p", {"scale": float("nan")}, "tensors.p.scale.0: Input should be a finite number"),
        ("p", {"scale": float("inf")}, "tensors.p.scale.0: Input should be"),
        ("p", {"zero_point": 256}, "zero point 256 is outside uint8 (0..255)"),
        ("p", {"zero_point": -1}, "zero point -1 is outside uint8 (0..255)"),
        ("p", {"dtype": "uint7"}, "tensors.p.dtype"),
        ("p", {"axis": 7, "scale": [1.0]}, "axis 7 of a tensor of rank"),
    ],
)
def test_encodings_that_make_no_sense_are_bad_input(quantize, changed, tmp_path, tensor, fields, words):
    assert words in complaint(quantize(given=changed(tensor, **fields)), 3)
    assert not (tmp_path / "q.onnx").exists()


def test_a_quantized_model_that_computes_no_numbers_is_not_written(tmp_path):
    chip, _, _ = toy_files(tmp_path / "inputs")
    chip.write_text(chip.read_text() + "  Reciprocal: {schemes: [fp16]}\n")
    text = "(float[1,4] x) => (float[1,4] y) {p = Relu(x) y = Reciprocal(p)}"
    save(model_from(text), tmp_path / "m.onnx")
    x = np.array([[[1, 2, 300, 0.01]]], np.float32)
    np.savez(tmp_path / "c.npz", x=x)
    done = npuopt(
        *("quantize", tmp_path / "m.onnx", "-t", chip, "-o", tmp_path / "q.onnx", "--precision", "a8w8"),
        *("--calibration", tmp_path / "c.npz"),
    )
    assert "y: the quantized model computes NaN or infinity here" in complaint(done, 5)
    assert not (tmp_path / "q.onnx").exists()
