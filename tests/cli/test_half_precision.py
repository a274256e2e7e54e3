"""`quantize`, `compile` and `sensitivity` in float types of 16 bits."""

import json

import numpy as np
import onnx
import pytest

from npuopt.graph import Session, load
from support.command import complaint, npuopt

HOST = "host/onnxruntime"
TEXT = """<ir_version: 10, opset_import: ["" : 24]> g (float[2,8] x) => (float[2,4] y)
<int64[1] a = {1}, float[8,4] w = {%s}>
{p = Mul(x, x) m = ReduceMean(p, a) l = Log(m) n = Div(x, l) y = MatMul(n, w)}"""


@pytest.fixture
def model(tmp_path):
    """Squares that overflow float16, and a product."""
    weights = ", ".join(map(str, np.random.default_rng(0).normal(size=32)))
    onnx.save(onnx.parser.parse_model(TEXT % weights), tmp_path / "model.onnx")
    samples = np.random.default_rng(1).normal(0, 150, (6, 2, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=samples)
    return tmp_path / "model.onnx"


@pytest.fixture
def quantize(model, tmp_path):
    def run(*options, precision="fp16", target=HOST, calibration=True):
        data = ("--calibration", tmp_path / "data.npz") if calibration else ()
        common = ("quantize", model, "-t", target, "--precision", precision, "-o", tmp_path / "q.onnx")
        return npuopt(*common, *data, *options)

    return run


def types_of(path):
    return {value.name: value.dtype.name for node in load(path).graph for value in node.outputs}


def test_overflow_becomes_an_island_that_the_report_names(quantize, tmp_path):
    done = json.loads(quantize("--json").stdout)
    halved = done["halved"]
    assert {island["op_type"] for island in halved["islands"]} == {"Mul", "ReduceMean"}
    assert "overflow" in halved["islands"][0]["reason"]
    assert done["outputs"]["y"]["sqnr_db"] > 55
    assert "rounded to float16 through Casts" in halved["checked_by"]
    assert types_of(tmp_path / "q.onnx")["p"] == "FLOAT"
    assert load(tmp_path / "q.onnx").graph.initializers["w"].dtype.name == "FLOAT16"
    assert "float32: Mul" in quantize().stdout


def test_keep_leaves_nodes_in_float32(quantize):
    halved = json.loads(quantize("--json", "--keep", "MatMul=fp32").stdout)["halved"]
    assert {island["op_type"]: island["reason"] for island in halved["islands"]}["MatMul"] == "asked for"


def test_bfloat16_is_written_between_casts_that_the_runtime_can_run(quantize, tmp_path):
    done = json.loads(quantize("--json", precision="bf16").stdout)
    assert done["halved"]["islands"] == []
    assert 30 < done["outputs"]["y"]["sqnr_db"] < 60
    assert load(tmp_path / "q.onnx").graph.initializers["w"].dtype.name == "BFLOAT16"
    made = Session(tmp_path / "q.onnx").run({"x": np.full((2, 8), 3, np.float32)})
    assert np.isfinite(made["y"]).all()


def test_compile_writes_the_type_and_says_what_stays(model, tmp_path):
    data = ("--calibration", tmp_path / "data.npz")
    for scheme in ("fp16", "bf16"):
        out = tmp_path / scheme
        done = npuopt("compile", model, "-t", HOST, "--precision", scheme, *data, "-o", out, "--json")
        manifest = json.loads(done.stdout)
        assert manifest["encodings"]["halved"]["nodes"] >= 3
        stages = {stage["name"]: stage["outputs"]["y"]["sqnr_db"] for stage in manifest["verification"]}
        assert 30 < stages["quantized"] < 90
        assert npuopt("run", out, "--inputs", tmp_path / "data.npz").returncode == 0


def test_sensitivity_ranks_nodes_by_what_the_type_does_to_them(model, tmp_path):
    common = ("sensitivity", model, "-t", HOST, "--precision", "fp16", "--calibration", tmp_path / "data.npz")
    layers = json.loads(npuopt(*common, "--json").stdout)["layers"]
    assert layers[0]["name"] in ("p", "m")
    assert {layer["name"]: layer["scheme"] for layer in layers}["y"] == "fp16"
    assert "for integer schemes" in complaint(npuopt(*common, "--at-outputs"), 2)


def test_without_data_it_warns(quantize):
    assert "warning: what stays in float32 was found with random numbers" in quantize(calibration=False).stderr


def test_a_chip_without_float32_is_written_whole_and_warned_of(quantize, tmp_path):
    chip = tmp_path / "chip.yaml"
    chip.write_text(
        "extends: host/onnxruntime\nname: toy/half\ntitle: Toy\nsource: invented\n"
        "schemes: {fp32: null, bf16: null, a8w8: null, s8w8: null, w8: null, w8b32: null, w4: null, w4a: null,"
        " w4b16: null, w4b64: null, w4b128: null, w4c: null}\n"
    )
    done = quantize(target=chip)
    assert done.returncode == 0, done.stderr
    assert "2 nodes want float32, which toy/half does not have; first Mul" in done.stderr
    assert types_of(tmp_path / "q.onnx")["p"] == "FLOAT16"
    assert "has no scheme 'fp32'" in complaint(quantize("--keep", "MatMul=fp32", target=chip), 2)


def test_what_makes_no_sense_is_refused(quantize, tmp_path):
    assert "cannot be in a8w8 beside fp16" in complaint(quantize("--keep", "MatMul=a8w8"), 2)
    assert "neither encodings nor steps" in complaint(quantize("--save-encodings", tmp_path / "e.json"), 2)
    assert "is not quantized" in complaint(quantize(precision="fp32"), 2)
    assert not (tmp_path / "q.onnx").exists()
