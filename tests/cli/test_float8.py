"""Schemes of 8-bit floats from the command line."""

import json

import numpy as np
import pytest

from npuopt.graph import load, nodes
from support.command import complaint, npuopt
from support.paths import ROOT

FASHION = ROOT / "examples" / "fashion_mnist"
HOST = "host/onnxruntime"


@pytest.fixture
def data(tmp_path):
    with np.load(FASHION / "calibration.npz") as archive:
        np.savez(tmp_path / "data.npz", **{name: array[:8, None] for name, array in archive.items()})
    return ("--dim", "batch=1", "--calibration", tmp_path / "data.npz")


def test_products_read_floats_of_8_bits(tmp_path, data):
    common = ("-t", HOST, "--precision", "f8e4m3", *data, "-o", tmp_path / "q.onnx")
    done = json.loads(npuopt("quantize", FASHION / "model.onnx", *common, "--json").stdout)
    assert done["outputs"]["logits"]["cosine"] > 0.99
    assert done["steps"] == []
    model = load(tmp_path / "q.onnx")
    assert {node.inputs[0].dtype.name for node in nodes(model, "DequantizeLinear")} == {"FLOAT8E4M3FN"}


def test_an_artifact_runs(tmp_path, data):
    out = tmp_path / "out"
    done = npuopt("compile", FASHION / "model.onnx", "-t", HOST, "--precision", "f8e5m2", *data, "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    stages = {stage["name"]: stage["outputs"]["logits"]["sqnr_db"] for stage in json.loads(done.stdout)["verification"]}
    assert 5 < stages["quantized"] < 25
    assert npuopt("run", out, "--inputs", tmp_path / "data.npz").returncode == 0


def test_auto_and_other_targets_and_what_is_for_integers(tmp_path, data):
    def refused(*options, target=HOST, command="quantize"):
        given = (command, FASHION / "model.onnx", "-t", target, *data, "-o", tmp_path / "q.onnx", *options)
        return complaint(npuopt(*given), 2)

    assert "has no scheme 'f8e4m3'" in refused("--precision", "f8e4m3", target="qualcomm/sm8750")
    assert "is for integers" in refused("--precision", "f8e4m3", "--step", "round-weights")
    assert "is a float one" in refused("--precision", "f8e4m3", "--max-drop", "sqnr=30")
    assert "needs ranges" in complaint(
        npuopt("quantize", FASHION / "model.onnx", "-t", HOST, "--precision", "f8e4m3", "-o", tmp_path / "q.onnx"), 2
    )
    found = json.loads(npuopt("check", FASHION / "model.onnx", "-t", HOST, "--dim", "batch=1", "--json").stdout)
    assert not found["scheme"].startswith("f8")
