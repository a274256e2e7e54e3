"""`npuopt quantize` and `compile` with weights as integers and everything else in float, without calibration data."""

import json

import pytest

from npuopt.graph import DataType, load, nodes
from support.command import complaint, npuopt
from support.paths import ROOT

LLAMA = ROOT / "examples" / "tiny_llama" / "model.onnx"
FASHION = ROOT / "examples" / "fashion_mnist" / "model.onnx"


def test_a_language_model_with_free_dims_needs_no_data(tmp_path):
    """Embedding and head among them, an eighth of the weights' bytes and their scales."""
    done = npuopt(
        "quantize", LLAMA, "-t", "host/onnxruntime", "--precision", "w4", "-o", tmp_path / "w4.onnx",
        "--save-encodings", tmp_path / "w4.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    model = load(tmp_path / "w4.onnx")
    held = nodes(model, "DequantizeLinear")
    assert len(held) == 44
    assert {node.inputs[0].dtype for node in held} == {DataType.INT4}
    assert (tmp_path / "w4.onnx").stat().st_size < LLAMA.stat().st_size / 5
    blocks = json.loads((tmp_path / "w4.json").read_text())["blocks"]
    assert blocks["m.emb.weight"] == {"dtype": "int4", "axis": 1, "block": 32, "symmetric": True}

    again = npuopt(
        "quantize", LLAMA, "-t", "host/onnxruntime", "--precision", "w4", "-o", tmp_path / "again.onnx",
        "--encodings", tmp_path / "w4.json",
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "w4.onnx").read_bytes()


def test_it_compiles_for_the_runtime(tmp_path):
    done = npuopt("compile", FASHION, "-t", "host/onnxruntime", "--precision", "w8", "-o", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["placement"]["npu_fraction"] == 1
    assert json.loads((tmp_path / "out" / "encodings.json").read_text())["blocks"]


@pytest.mark.parametrize(
    ("target", "precision", "words"),
    [
        ("qualcomm/sm8750", "w4", "has no scheme 'w4'"),
        ("host/onnxruntime", "w4b8", "has no scheme 'w4b8'"),
        ("host/onnxruntime", "a8w8", "needs ranges"),
    ],
)
def test_schemes_that_a_target_lacks_or_that_need_data(tmp_path, target, precision, words):
    done = npuopt("quantize", FASHION, "-t", target, "--precision", precision, "-o", tmp_path / "out.onnx")
    assert words in complaint(done, 2)
    assert not (tmp_path / "out.onnx").exists()


def test_encodings_of_activations_do_not_fit_a_scheme_that_leaves_them_float(tmp_path):
    encodings = tmp_path / "a8w8.json"
    encodings.write_text('{"tensors": {"input": {"dtype": "uint8", "scale": 1, "zero_point": 0}}}')
    done = npuopt(
        "quantize", FASHION, "-t", "host/onnxruntime", "--precision", "w8", "-o", tmp_path / "out.onnx",
        "--encodings", encodings,
    )  # fmt: skip
    assert "encodings quantize activations" in complaint(done, 3)
