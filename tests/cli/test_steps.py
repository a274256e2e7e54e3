"""Quantization steps on the command line: named, left out, and wrong."""

import json

import numpy as np
import pytest

from npuopt.graph import save
from npuopt.quantization import Encodings
from npuopt.quantization.steps import standard_steps
from support.command import complaint, npuopt
from support.integer_chip import integer_chip
from support.rewrites import model_from
from support.toy_road import toy_files


@pytest.fixture
def quantize(tmp_path):
    """Quantize the toy model."""
    chip, model, _ = toy_files(tmp_path / "inputs")
    np.savez(tmp_path / "c.npz", x=np.random.default_rng(0).normal(size=(8, 1, 4)).astype(np.float32))

    def run(*arguments, precision="a8w8", calibration=True):
        given = ("-t", chip, "--dim", "batch=1", "--precision", precision, "-o", tmp_path / "q.onnx")
        data = ("--calibration", tmp_path / "c.npz") if calibration else ()
        return npuopt("quantize", model, *given, *data, *arguments)

    return run


def test_the_steps_that_ran_are_on_record(quantize):
    def names(*arguments):
        return [step["name"] for step in json.loads(quantize("--json", *arguments).stdout)["steps"]]

    standard = names()
    assert "round-weights" in standard
    assert names("--no-step", "round-weights") == [name for name in standard if name != "round-weights"]
    ran = json.loads(quantize("--json", "--step", "round-weights{most_features=1}").stdout)["steps"]
    assert next(step for step in ran if step["name"] == "round-weights")["options"] == {"most_features": 1}


def test_each_step_is_measured_by_leaving_it_out(quantize, tmp_path):
    result = json.loads(quantize("--json", "--steps-report").stdout)
    report = {quality["without"]: quality for quality in result["steps_report"]}
    assert list(report) == ["", *(step["name"] for step in result["steps"])]
    assert report[""]["output_sqnr_db"] == pytest.approx(result["outputs"]["y"]["sqnr_db"])
    assert report[""]["worst_layer"] == "", "what Relu drops is not worth holding"
    without = json.loads(quantize("--json", "--no-step", "round-weights").stdout)["outputs"]["y"]["sqnr_db"]
    assert report["round-weights"]["output_sqnr_db"] == pytest.approx(without)
    text = quantize("--steps-report").stdout
    assert "without" in text
    assert "round-weights: 1 layers' weights rounded by data" in text


def test_there_is_nothing_to_measure_without_steps(quantize):
    without = [text for name in standard_steps(integer_chip().scheme("a8w8")) for text in ("--no-step", name)]
    assert "has no quantization steps" in complaint(quantize("--steps-report", *without), 2)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--step", "round-weigts"), "did you mean round-weights"),
        (("--step", "round-weights{most_features=-1}"), "does not fit option 'most_features'"),
        (("--step", "round weights"), "is no quantization step"),
        (("--no-step", "smooth"), "no quantization step called 'smooth'"),
    ],
)
def test_wrong_steps_are_one_sentence(quantize, tmp_path, arguments, what):
    assert what in complaint(quantize(*arguments), 2)
    assert not (tmp_path / "q.onnx").exists()


def test_no_step_runs_where_nothing_is_quantized(quantize):
    assert "a float scheme quantizes nothing" in complaint(quantize("--step", "round-weights", precision="fp16"), 2)


def test_steps_that_choose_encodings_do_not_go_with_given_ones(quantize, tmp_path):
    assert quantize("--save-encodings", tmp_path / "e.json").returncode == 0
    given = ("--encodings", tmp_path / "e.json")
    assert "step widen-weights chooses encodings" in complaint(quantize(*given, "--step", "widen-weights"), 2)
    assert quantize(*given, "--step", "round-weights").returncode == 0
    assert quantize(*given, calibration=False).returncode == 0


def test_encodings_ask_for_no_other_passes(quantize, tmp_path):
    assert quantize("--save-encodings", tmp_path / "e.json").returncode == 0
    hostile = {"pass_name": "freeze-dims", "options": {"dims": {"batch": "2"}}}
    document = json.loads((tmp_path / "e.json").read_text())
    (tmp_path / "e.json").write_text(json.dumps({**document, "rewrites": [hostile]}))
    assert Encodings.load(tmp_path / "e.json").rewrites
    assert "encodings ask for pass 'freeze-dims'" in complaint(quantize("--encodings", tmp_path / "e.json"), 3)


def test_weights_alone_are_scaled_on_request_and_encodings_say_so(tmp_path):
    rng = np.random.default_rng(0)
    scale, weight = ([f"{number:.3f}" for number in rng.normal(size=shape).ravel()] for shape in (64, (64, 64)))
    loud = ",".join(["40.0", *scale[1:]])
    model = model_from(
        f"""(float[4,64] x) => (float[4,64] y) <float[64] g = {{{loud}}}, float[64,64] w = {{{",".join(weight)}}}>
        {{h = RMSNormalization<axis=-1>(x, g) y = MatMul(h, w)}}"""
    )
    save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "c.npz", x=rng.normal(size=(8, 4, 64)).astype(np.float32))
    start = ("quantize", tmp_path / "m.onnx", "-t", "host/onnxruntime", "--precision", "w4")
    data = ("--calibration", tmp_path / "c.npz")
    scaled = (*start, *data, "--step", "scale-weights", "-o", tmp_path / "a.onnx")
    result = json.loads(npuopt(*scaled, "--save-encodings", tmp_path / "e.json", "--json").stdout)
    assert [(step["name"], step["changed"]) for step in result["steps"]] == [("scale-weights", 1)]
    again = npuopt(*start, *data, "--encodings", tmp_path / "e.json", "-o", tmp_path / "b.onnx")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    refused = npuopt(*start, *data, "--step", "widen-activations", "-o", tmp_path / "c.onnx")
    assert "does not run where activations stay float" in complaint(refused, 2)
