"""`npuopt evaluate` on models small enough to know the answer."""

from __future__ import annotations

import json

import numpy as np
import pytest

from npuopt.delegates import registry
from npuopt.graph import save
from support.command import complaint, npuopt
from support.rewrites import model_from
from support.toy_road import ToyDelegate, toy_files

RIGHT = "(float[1,3] x) => (float[1,3] y) {y = Identity(x)}"
LEFT = "(float[1,3] x) => (float[1,3] y) <float[3] w = {2, 1, 1}> {y = Mul(x, w)}"
STEPS = "(float[1,4,3] x) => (float[1,4,3] y) {y = Identity(x)}"


@pytest.fixture
def folder(tmp_path):
    for name, text in (("right", RIGHT), ("left", LEFT), ("steps", STEPS)):
        save(model_from(text), tmp_path / f"{name}.onnx")
    generator = np.random.default_rng(0)
    scores = generator.random((40, 1, 3)).astype(np.float32)
    np.savez(tmp_path / "classes.npz", x=scores, labels=scores[:, 0].argmax(axis=-1))
    np.savez(tmp_path / "frames.npz", x=scores, labels=scores[:, 0] > 0.5)
    path = np.eye(3, dtype=np.float32)[[[0, 1, 1, 2], [1, 0, 1, 2]]]
    texts = {"texts": np.array(["ab", "ab"]), "characters": np.array(["", "a", "b"])}
    np.savez(tmp_path / "lines.npz", x=path[:, None], **texts)
    np.savez(tmp_path / "losses.npz", x=np.zeros((5, 1, 4, 3), np.float32), targets=np.ones((5, 4), np.int64))
    return tmp_path


def evaluated(folder, model, data, *arguments):
    done = npuopt("evaluate", folder / f"{model}.onnx", "--data", folder / f"{data}.npz", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("task", "model", "data", "value"),
    [
        ("top1", "right", "classes", 1.0),
        ("f1", "right", "classes", 1.0),
        ("auc", "right", "frames", 1.0),
        ("exact-match", "steps", "lines", 0.5),
        ("cer", "steps", "lines", 0.25),
        ("wer", "steps", "lines", 0.5),
        ("rouge", "steps", "lines", 0.5),
        ("perplexity", "steps", "losses", 3.0),
    ],
)
def test_every_task_by_the_data(folder, task, model, data, value):
    report = evaluated(folder, model, data, "--task", task, "--resamples", 20)
    assert report["value"] == pytest.approx(value)
    assert report["interval"][0] - 1e-9 <= value <= report["interval"][1] + 1e-9


@pytest.mark.parametrize("task", ["agreement", "embeddings"])
def test_every_task_by_another_model(folder, task):
    against = ("--task", task, "--against", folder / "left.onnx", "--resamples", 50)
    report = evaluated(folder, "right", "classes", *against)
    assert report["interval"][0] <= report["value"] <= report["interval"][1] < 1
    assert evaluated(folder, "left", "classes", *against)["value"] == pytest.approx(1)
    assert "needs" not in report


def test_the_paired_difference(folder):
    report = evaluated(folder, "left", "classes", "--task", "top1", "--against", folder / "right.onnx")
    assert report["reference"] == 1.0
    assert report["difference"] == pytest.approx(report["value"] - 1.0)
    assert report["difference_interval"][0] <= report["difference"] <= report["difference_interval"][1] <= 0
    assert npuopt(
        "evaluate", folder / "left.onnx", "--data", folder / "classes.npz", "--task", "top1", "--limit", 9
    ).stdout.startswith("top-1 accuracy (more is better), 9 samples")


METRICS = """
def good(outputs, data):
    return (outputs.argmax(-1).reshape(-1) == data["labels"]).astype(float)

def broken(outputs, data):
    raise KeyError("no such thing")

def short(outputs, data):
    return [1.0]
"""


def test_a_metric_of_the_users(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "my_metrics_for_tests.py").write_text(METRICS, encoding="utf-8")
    report = evaluated(folder, "left", "classes", "--metric", "my_metrics_for_tests:good")
    same = evaluated(folder, "left", "classes", "--task", "top1")
    assert report["value"] == same["value"]
    run = ("evaluate", folder / "left.onnx", "--data", folder / "classes.npz", "--metric")
    assert "raised KeyError: 'no such thing'" in complaint(npuopt(*run, "my_metrics_for_tests:broken"), 2)
    assert "one finite number for each sample" in complaint(npuopt(*run, "my_metrics_for_tests:short"), 2)
    assert "has no function gone" in complaint(npuopt(*run, "my_metrics_for_tests:gone"), 2)
    assert "cannot be imported" in complaint(npuopt(*run, "no_such_module_here:gone"), 2)
    assert "is not package.module:function" in complaint(npuopt(*run, "../x"), 2)


def test_wrong_usage_and_wrong_data(folder):
    run = ("evaluate", folder / "right.onnx", "--data")
    good = folder / "classes.npz"
    assert "either --task or --metric" in complaint(npuopt(*run, good), 2)
    assert "no task 'top5'" in complaint(npuopt(*run, good, "--task", "top5"), 2)
    assert "--against" in complaint(npuopt(*run, good, "--task", "agreement"), 2)
    assert "no output 'z'" in complaint(npuopt(*run, good, "--task", "top1", "--output", "z"), 2)
    assert "needs the array texts" in complaint(npuopt(*run, good, "--task", "cer"), 3)
    assert "no such file" in complaint(npuopt(*run, folder / "gone.npz", "--task", "top1"), 3)
    (folder / "noise.npz").write_bytes(b"PK\x03\x04 nothing")
    assert "cannot be read" in complaint(npuopt(*run, folder / "noise.npz", "--task", "top1"), 3)
    objects = np.array([{}, None], dtype=object)
    np.savez(folder / "objects.npz", x=np.zeros((2, 1, 3), np.float32), labels=objects)
    assert "cannot be read" in complaint(npuopt(*run, folder / "objects.npz", "--task", "top1"), 3)
    np.savez(folder / "short.npz", x=np.zeros((2, 1, 3), np.float32), labels=np.zeros(3, np.int64))
    assert "2 samples, but labels has 3" in complaint(npuopt(*run, folder / "short.npz", "--task", "top1"), 3)


def test_an_artifact(tmp_path, monkeypatch):
    chip, model, data = toy_files(tmp_path / "inputs")
    monkeypatch.setitem(registry.ROADS, "qnn", f"{ToyDelegate.__module__}:ToyDelegate")
    done = npuopt("compile", model, "-t", chip, "--dim", "batch=1", "--precision", "fp16", "-o", tmp_path / "artifact")
    assert done.returncode == 0, done.stderr
    for engine in ("cpu", "device"):
        run = ("evaluate", tmp_path / "artifact", "--data", data, "--task", "agreement", "--engine", engine)
        report = npuopt(*run, "--against", model, "--json")
        assert report.returncode == 0, report.stderr
        assert json.loads(report.stdout)["value"] == 1.0
