"""`npuopt quantize` and `compile` with weights as integers and everything else in float, without calibration data."""

import json

import numpy as np
import pytest

from npuopt.graph import DataType, Session, load, nodes
from npuopt.verify import seeded_inputs
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


def test_single_nodes_are_kept_in_another_scheme(tmp_path):
    def quantize(*options):
        out = ("-o", tmp_path / "out.onnx")
        return npuopt("quantize", FASHION, "-t", "host/onnxruntime", "--precision", "w4c", *out, *options)

    assert quantize("--keep", "Conv=fp32", "--keep", "Gemm=w8").returncode == 0
    types = [node.inputs[0].dtype for node in nodes(load(tmp_path / "out.onnx"), "DequantizeLinear")]
    assert set(types) == {DataType.INT8}
    assert "quantizes activations, which w4c computes in float" in complaint(quantize("--keep", "Conv=a8w8"), 2)


def test_other_forms_hold_the_same_numbers(tmp_path):
    """MatMulNBits computes what DequantizeLinear and MatMul do; encodings beside the float model make either."""
    feeds = None
    made = {}
    for form in ("qdq", "nbits", "encodings"):
        done = npuopt(
            "quantize", FASHION, "-t", "host/onnxruntime", "--precision", "w8", "--form", form,
            "-o", tmp_path / f"{form}.onnx", "--rounding", "nearest",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        model = load(tmp_path / f"{form}.onnx")
        feeds = feeds or seeded_inputs(model, 0, {"batch": 2})
        made[form] = Session(model).run(feeds)["logits"]
    np.testing.assert_allclose(made["nbits"], made["qdq"], atol=1e-4)
    assert np.abs(made["encodings"] - made["qdq"]).max() > 1e-3, "the float model"
    assert len(nodes(load(tmp_path / "nbits.onnx"), "com.microsoft::MatMulNBits")) == 1
    assert json.loads((tmp_path / "encodings.encodings.json").read_text())["blocks"]


def test_each_way_of_rounding_finds_scales_of_its_own(tmp_path):
    made: set[bytes] = set()
    for rounding in ("nearest", "least-squares", "half-quadratic"):
        done = npuopt(
            "quantize", FASHION, "-t", "host/onnxruntime", "--precision", "w4c", "--rounding", rounding,
            "-o", tmp_path / "out.onnx",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        made.add((tmp_path / "out.onnx").read_bytes())
    assert len(made) == 3


@pytest.mark.parametrize(
    ("command", "precision", "form", "words"),
    [
        ("quantize", "w8", "qoperator", "is for quantized activations"),
        ("quantize", "fp16", "nbits", "quantizes nothing"),
        ("quantize", "fp32", "nbits", "is not quantized"),
        ("quantize", "w4", "dynamic", "is for weights of int8"),
        ("compile", "w8", "encodings", "not what compile is for"),
    ],
)
def test_forms_that_do_not_fit(tmp_path, command, precision, form, words):
    done = npuopt(
        command, FASHION, "-t", "host/onnxruntime", "--precision", precision, "--form", form, "-o", tmp_path / "out"
    )
    assert words in complaint(done, 2)
    assert not list(tmp_path.iterdir())


def test_quantized_activations_as_operators_on_integers(tmp_path):
    np.savez(tmp_path / "few.npz", input=np.random.default_rng(0).random((4, 1, 28, 28), np.float32))
    made = {}
    for form in ("qdq", "qoperator"):
        done = npuopt(
            "quantize", FASHION, "-t", "host/onnxruntime", "--precision", "a8w8", "--form", form, "--dim", "batch=1",
            "--calibration", tmp_path / "few.npz", "-o", tmp_path / f"{form}.onnx",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        made[form] = load(tmp_path / f"{form}.onnx")
    assert len(nodes(made["qoperator"], "QLinearConv")) == len(nodes(made["qdq"], "Conv")) > 10
    feeds = seeded_inputs(made["qdq"], 0)
    got = [Session(model).run(feeds)["logits"] for model in made.values()]
    np.testing.assert_allclose(got[0], got[1], atol=1e-5)


def test_it_compiles_for_the_runtime(tmp_path):
    done = npuopt("compile", FASHION, "-t", "host/onnxruntime", "--precision", "w8", "-o", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["placement"]["npu_fraction"] == 1
    assert json.loads((tmp_path / "out" / "encodings.json").read_text())["blocks"]


@pytest.mark.parametrize(
    ("target", "precision", "words"),
    [
        ("qualcomm/qcs6490", "w4", "has no scheme 'w4'"),
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
    tensors = {"input": {"dtype": "uint8", "scale": 1, "zero_point": 0}}
    encodings.write_text(json.dumps({"format": "npuopt-encodings", "tensors": tensors}))
    done = npuopt(
        "quantize", FASHION, "-t", "host/onnxruntime", "--precision", "w8", "-o", tmp_path / "out.onnx",
        "--encodings", encodings,
    )  # fmt: skip
    assert "encodings quantize activations" in complaint(done, 3)
