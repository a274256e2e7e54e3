"""`npuopt compile` for several targets: a folder for each, and what one cannot do keeps no other from its own."""

import json

import numpy as np
import pytest

from npuopt.quantization.calibration import calibrate
from support.command import complaint, npuopt
from support.model_text import save_text

TEXT = """(float[N, 4] x) => (float[N, 3] y)
    <float[4, 3] w = {0.1, -0.2, 0.3, 0.4, 0.5, -0.6, 0.7, 0.8, -0.9, 1, 1.1, 1.2}> { a = MatMul(x, w) y = Relu(a) }"""
TWIN = "extends: host/onnxruntime\nname: twin/chip\ntitle: The same under another name\nsource: invented\n"


@pytest.fixture
def model(tmp_path):
    return save_text(tmp_path / "m.onnx", TEXT)


@pytest.fixture
def twin(tmp_path):
    path = tmp_path / "twin.yaml"
    path.write_text(TWIN)
    return path


def test_each_target_has_a_folder_named_after_it(model, twin, tmp_path):
    out = tmp_path / "out"
    done = npuopt("compile", model, "-t", "host/onnxruntime", "-t", twin, "-o", out, "--dim", "N=2")
    assert done.returncode == 0
    assert {str(path.parent.relative_to(out)) for path in out.rglob("manifest.json")} == {
        "host/onnxruntime",
        "twin/chip",
    }
    assert [line.split()[:3] for line in done.stdout.splitlines() if "/" in line] == [
        ["host/onnxruntime", "fp32", "100.0%"],
        ["twin/chip", "fp32", "100.0%"],
    ]


def test_targets_whose_graphs_are_equal_are_calibrated_once(model, twin, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "samples.npz", x=rng.normal(size=(5, 2, 4)).astype(np.float32))
    ran = []
    run = calibrate._run
    monkeypatch.setattr(calibrate, "_run", lambda batch, *rest: (ran.append(len(batch)), run(batch, *rest)))
    data = ("--dim", "N=2", "--precision", "a8w8", "--calibration", tmp_path / "samples.npz")
    alone = npuopt("compile", model, "-t", twin, "-o", tmp_path / "alone", *data)
    assert (alone.returncode, sum(ran)) == (0, 5)
    both = npuopt("compile", model, "-t", "host/onnxruntime", "-t", twin, "-o", tmp_path / "out", *data)
    assert (both.returncode, sum(ran)) == (0, 10)
    folders = [tmp_path / "alone", tmp_path / "out" / "twin" / "chip", tmp_path / "out" / "host" / "onnxruntime"]
    tensors = [json.loads((folder / "encodings.json").read_text())["tensors"] for folder in folders]
    assert tensors[0] == tensors[1] == tensors[2]


def test_what_one_target_refuses_is_said_after_the_others_are_made(model, tmp_path):
    out = tmp_path / "out"
    options = (
        "-t",
        "host/aarch64",
        "-t",
        "host/onnxruntime",
        "-o",
        out,
        "--dim",
        "N=2",
        "--precision",
        "a8w8",
        "--json",
    )
    done = npuopt("compile", model, *options, "--calibration", "random")
    assert "has no scheme 'a8w8'" in complaint(done, 2)
    refused, made = json.loads(done.stdout)["targets"]
    assert (refused["target"], made["target"]["name"]) == ("host/aarch64", "host/onnxruntime")
    assert not (out / "host" / "aarch64").exists()
    assert (out / "host" / "onnxruntime" / "manifest.json").is_file()


def test_when_all_refuse_there_is_one_complaint_and_no_folder(model, tmp_path):
    out = tmp_path / "out"
    options = ("-t", "host/aarch64", "-t", "host/x86-64", "-o", out, "--precision", "a8w8")
    assert "has no scheme 'a8w8'" in complaint(npuopt("compile", model, *options, "--calibration", "random"), 2)
    assert not list(tmp_path.rglob("manifest.json"))


def test_an_unknown_target_stops_before_anything_is_made(model, tmp_path):
    done = npuopt("compile", model, "-t", "host/onnxruntime", "-t", "host/nowhere", "-o", tmp_path / "out")
    assert "no target 'host/nowhere'" in complaint(done, 2)
    assert not (tmp_path / "out").exists()
