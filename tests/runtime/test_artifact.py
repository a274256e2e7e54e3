"""An artifact runs as its manifest orders, and one that was tampered with does not."""

import json
from pathlib import Path

import numpy as np
import pytest

from npuopt import api
from npuopt.delegates import registry
from npuopt.delegates.contract import Limits
from npuopt.errors import InputError, UsageError
from npuopt.road.options import CompileOptions
from npuopt.runtime import Artifact
from support.toy_road import ToyDelegate, toy_files

LIMITS = Limits(seconds=60)
WEIGHT = np.array([1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12], np.float32).reshape(4, 3)


@pytest.fixture
def artifact(tmp_path, monkeypatch) -> Path:
    monkeypatch.setitem(registry.ROADS, "qnn", f"{ToyDelegate.__module__}:ToyDelegate")
    chip, model, _ = toy_files(tmp_path / "inputs")
    options = CompileOptions(dims={"batch": 1}, precision="fp16", verify="off")
    api.compile(model, str(chip), tmp_path / "artifact", options)
    return tmp_path / "artifact"


def edit_manifest(artifact: Path, change) -> None:
    path = artifact / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def samples_file(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def test_both_engines_compute_the_model(artifact, tmp_path) -> None:
    opened = Artifact.open(artifact)
    x = np.random.default_rng(0).normal(size=(3, 1, 4)).astype(np.float32)
    samples = opened.samples(samples_file(tmp_path / "x.npz", x=x))
    for engine in ("device", "cpu"):
        results = opened.run(samples, engine=engine, limits=LIMITS)
        assert [list(result) for result in results] == [["y"]] * 3
        np.testing.assert_allclose(np.stack([result["y"] for result in results]), np.maximum(x @ WEIGHT, 0), rtol=1e-5)


def test_what_was_moved_still_runs(artifact, tmp_path) -> None:
    moved = tmp_path / "elsewhere" / "mine"
    moved.parent.mkdir()
    artifact.rename(moved)
    sample = {"x": np.ones((1, 4), np.float32)}
    assert Artifact.open(moved).run([sample], limits=LIMITS)[0]["y"].shape == (1, 3)


def test_an_unknown_engine(artifact) -> None:
    with pytest.raises(UsageError, match="no engine 'gpu'; use device or cpu"):
        Artifact.open(artifact).run([], engine="gpu", limits=LIMITS)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"z": np.zeros((1, 1, 4), np.float32)}, "x"),
        ({"x": np.zeros((1, 1, 5), np.float32)}, "shape"),
        ({"x": np.zeros((0, 1, 4), np.float32)}, "no samples"),
    ],
)
def test_samples_that_do_not_fit(artifact, tmp_path, arrays, words) -> None:
    opened = Artifact.open(artifact)
    with pytest.raises(InputError, match=words):
        opened.samples(samples_file(tmp_path / "x.npz", **arrays))


def test_an_input_that_a_step_lacks(artifact) -> None:
    with pytest.raises(InputError, match="input 'x' is missing"):
        Artifact.open(artifact).run([{"z": np.zeros(1)}], limits=LIMITS)


@pytest.mark.parametrize("name", ["model.onnx", "target.json"])
def test_a_file_that_was_changed_or_is_gone(artifact, name) -> None:
    path = artifact / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match="is not the file that the manifest describes; compile again"):
        Artifact.open(artifact)
    path.unlink()
    with pytest.raises(InputError, match="is missing; compile again"):
        Artifact.open(artifact)


def test_a_manifest_that_leads_out(artifact, tmp_path) -> None:
    def lead_out(document) -> None:
        document["files"]["../inputs/model.onnx"] = document["files"]["model.onnx"]

    edit_manifest(artifact, lead_out)
    with pytest.raises(InputError, match="leads out of the artifact"):
        Artifact.open(artifact)


def test_a_step_that_leads_out(artifact) -> None:
    edit_manifest(artifact, lambda document: document["steps"][0].update(files=["/etc/hostname"]))
    with pytest.raises(InputError, match="leads out of the artifact"):
        Artifact.open(artifact)


def test_a_step_whose_file_the_manifest_does_not_describe(artifact) -> None:
    (artifact / "unknown.onnx").write_bytes(b"")
    edit_manifest(artifact, lambda document: document["steps"][0].update(files=["unknown.onnx"]))
    with pytest.raises(InputError, match=r"step .* needs unknown.onnx, which the manifest does not describe"):
        Artifact.open(artifact)


def test_a_link_that_leads_out(artifact, tmp_path) -> None:
    inside = artifact / "model.onnx"
    outside = tmp_path / "outside.onnx"
    inside.replace(outside)
    inside.symlink_to(outside)
    with pytest.raises(InputError, match="leads out of the artifact"):
        Artifact.open(artifact)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not validate"),
        ("{}", "does not validate"),
        ("[1", "does not validate"),
        ("[" * 100_000, "does not validate"),
        ("null", "does not validate"),
    ],
)
def test_a_manifest_that_is_none(artifact, text, words) -> None:
    (artifact / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=words):
        Artifact.open(artifact)


def test_a_manifest_of_another_format(artifact) -> None:
    edit_manifest(artifact, lambda document: document.update(format="npuopt-artifact/9"))
    with pytest.raises(InputError, match="format"):
        Artifact.open(artifact)


def test_no_artifact_at_all(tmp_path) -> None:
    with pytest.raises(InputError, match=r"is no npuopt artifact: it has no manifest.json"):
        Artifact.open(tmp_path)


def test_results_are_written_whole_under_the_name_that_was_given(artifact, tmp_path) -> None:
    inputs = samples_file(tmp_path / "x.npz", x=np.ones((2, 1, 4), np.float32))
    said = api.run(artifact, inputs, output=tmp_path / "results")
    with np.load(tmp_path / "results") as arrays:
        assert arrays["y"].shape == (2, 1, 3)
    assert said["outputs"][0] == {
        "name": "y",
        "shape": [1, 3],
        "dtype": "float32",
        "min": 0.0,
        "max": 6.0,
        "mean": 2.0,
    }
