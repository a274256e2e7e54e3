"""`--max-drop` and `--budget`: schemes node by node, as fast as a bound on accuracy allows."""

import json
import sys

import numpy as np
import pytest

from npuopt.graph import Session, load, nodes
from support.command import complaint, npuopt
from support.differences import write_differences

CHIP = """
name: toy/mixed
title: A chip with two widths of activations
source: invented
delegate: {road: ort}
schemes:
  a8w8: {activation: uint8, weight: int8, weight_axis: channel, bias: int32}
  a16w8: {activation: uint16, weight: int8, weight_axis: channel, bias: int32}
  fp16: {activation: float16, tensors: [float32, float16]}
ops:
  MatMul: {schemes: [a8w8, a16w8, fp16], quantization: {weights: [1]}}
  Relu: {schemes: [a8w8, a16w8, fp16]}
  Sub: {schemes: [a8w8, a16w8, fp16]}
"""


@pytest.fixture
def quantize(tmp_path, monkeypatch):
    """A network whose last layers are far less exact than its first: differences of large numbers."""
    monkeypatch.chdir(tmp_path)
    write_differences(tmp_path)
    (tmp_path / "chip.yaml").write_text(CHIP)

    def run(*options, precision="a8w8"):
        fixed = ("-t", "chip.yaml", "-o", "q.onnx", "--calibration", "c.npz", "--precision", precision)
        return npuopt("quantize", "m.onnx", *fixed, *options)

    return run


def outcome(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def widths(tmp_path):
    model = load(tmp_path / "q.onnx")
    return {node.outputs[0].dtype.name for node in nodes(model, "QuantizeLinear")}


def test_a_bound_between_both_schemes_mixes_them(quantize, tmp_path):
    narrow = outcome(quantize("--json"))["outputs"]["y"]["sqnr_db"]
    wide = outcome(quantize("--json", precision="a16w8"))["outputs"]["y"]["sqnr_db"]
    bound = round((narrow + min(wide, narrow + 12)) / 2, 1)
    found = outcome(quantize("--json", "--max-drop", f"sqnr={bound}", "--save-encodings", "e.json"))
    search = found["search"]
    assert narrow < bound <= search["measured"]
    assert set(search["layers"]) == {"a8w8", "a16w8"}
    assert 1 < search["latency"] < 2
    assert widths(tmp_path) == {"UINT8", "UINT16"}
    precisions = json.loads((tmp_path / "e.json").read_text())["precisions"]
    assert len(precisions) == search["layers"]["a16w8"]


def test_what_was_found_can_be_given_back(quantize, tmp_path):
    outcome(quantize("--json", "--max-drop", "sqnr=40", "--save-precisions", "p.yaml"))
    first = (tmp_path / "q.onnx").read_bytes()
    outcome(quantize("--json", "--precisions", "p.yaml"))
    assert (tmp_path / "q.onnx").read_bytes() == first


def test_a_bound_that_the_narrow_scheme_keeps_needs_nothing_else(quantize, tmp_path):
    search = outcome(quantize("--json", "--max-drop", "sqnr=20", precision="a16w8"))["search"]
    assert set(search["layers"]) == {"a8w8"}
    assert search["latency"] == pytest.approx(1)
    assert widths(tmp_path) == {"UINT8"}


def test_a_bound_out_of_reach_says_what_is_in_the_way(quantize, tmp_path):
    sentence = complaint(quantize("--max-drop", "sqnr=140", "--save-encodings", "e.json"), 5)
    assert "140.0 dB is out of reach: the best assignment found has" in sentence
    assert "in the way:" in sentence
    assert not (tmp_path / "q.onnx").exists()
    assert not (tmp_path / "e.json").exists()


def test_the_bound_is_kept_on_samples_that_calibration_does_not_see(quantize, tmp_path):
    held_out = np.random.default_rng(1).normal(0, 1.5, (6, 4, 16)).astype(np.float32)
    np.savez(tmp_path / "h.npz", x=held_out)
    seen = outcome(quantize("--json", "--max-drop", "sqnr=40"))["search"]
    search = outcome(quantize("--json", "--max-drop", "sqnr=40", "--held-out", "h.npz"))["search"]
    assert (seen["held_out"], search["held_out"]) == (False, True)
    runs = [[Session(tmp_path / name).run({"x": one})["y"] for one in held_out] for name in ("m.onnx", "q.onnx")]
    expected, got = map(np.stack, runs)
    noise = ((got - expected) ** 2).sum() / (expected**2).sum()
    assert search["measured"] == pytest.approx(-10 * np.log10(noise), abs=0.1)
    assert search["measured"] >= 40
    assert search["layers"]["a16w8"] > seen["layers"]["a16w8"]


def test_a_budget_alone_is_spent_on_accuracy(quantize):
    tight = outcome(quantize("--json", "--budget", "latency=1.0"))
    wide = outcome(quantize("--json", "--budget", "latency=3"))
    assert set(tight["search"]["layers"]) == {"a8w8"}
    assert set(wide["search"]["layers"]) == {"a16w8"}
    assert wide["outputs"]["y"]["sqnr_db"] > tight["outputs"]["y"]["sqnr_db"]


def test_a_node_that_is_kept_is_not_touched(quantize, tmp_path):
    outcome(quantize("--json", "--max-drop", "sqnr=20", "--keep", "b=a16w8"))
    assert widths(tmp_path) == {"UINT8", "UINT16"}


def test_perplexity_and_functions_are_bounds_too(quantize, tmp_path):
    search = outcome(quantize("--json", "--max-drop", "perplexity=0.1%"))["search"]
    assert search["measured"] <= 0.001
    (tmp_path / "my_metric.py").write_text(
        "def largest(inputs, outputs):\n    return -max(o['y'].max() for o in outputs)\n"
    )
    search = outcome(quantize("--json", "--max-drop", "my_metric:largest=0.05"))["search"]
    assert search["measured"] <= 0.05


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--max-drop", "sqnr"), 2, "is no bound on a metric"),
        (("--max-drop", "sqnr@z=30"), 2, "no float output is called 'z'"),
        (("--budget", "time=3"), 2, "is no budget"),
        (("--budget", "bytes=-3"), 2, "is no budget"),
        (("--budget", "bytes=10"), 2, "fits the budget; the least is"),
        (("--max-drop", "sqnr=30", "--precision", "fp16"), 2, "scheme fp16 is a float one"),
        (("--held-out", "c.npz"), 2, "there is none"),
        (("--max-drop", "sqnr=30", "--held-out", "no.npz"), 3, "no.npz"),
        (("--max-drop", "no_such_module:f=1"), 3, "cannot be imported"),
        (("--max-drop", "failing:f=1"), 3, "the metric fails: KeyError"),
    ],
)
def test_mistakes_leave_nothing(quantize, tmp_path, options, code, words):
    (tmp_path / "failing.py").write_text("def f(inputs, outputs):\n    return outputs[0]['labels']\n")
    assert words in complaint(quantize(*options), code)
    assert not (tmp_path / "q.onnx").exists()


def test_without_the_solver_the_extra_is_named(quantize, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    assert "npuopt[search]" in complaint(quantize("--max-drop", "sqnr=30"), 6)
    assert not (tmp_path / "q.onnx").exists()
