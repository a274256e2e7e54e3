"""`npuopt compile` for processors as a user calls it, and TVM for what a chip leaves to the host."""

import json
import os
import platform
import sys
from pathlib import Path

import numpy as np
import pytest
from delegates.host_cases import needs_linker, processor_yaml

from npuopt.bundle import read_manifest
from npuopt.graph import Session, save
from support.command import complaint, npuopt
from support.paths import EXAMPLES
from support.rewrites import model_from

FASHION = EXAMPLES / "fashion_mnist"
CHIP = """
name: toy/chip
title: A chip on paper
source: invented
delegate: {road: ort}
shapes: {static: required}
schemes: {fp32: {activation: float32}}
ops:
  MatMul: {schemes: [fp32]}
  Sigmoid: {schemes: [fp32]}
  Tanh: {schemes: [fp32]}
"""
ON_CHIP = "p = MatMul(x, w) s = Sigmoid(p) t = Tanh(s) u = Sigmoid(t)"
WEIGHTS = "<float[4, 3] w = {1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12}>"
AARCH64 = {"triple": "aarch64-unknown-linux-gnu", "cpu": "generic", "cross_compiler": "aarch64-linux-gnu-g++"}
ELF_AARCH64 = 183


@pytest.fixture
def chip(tmp_path) -> Path:
    path = tmp_path / "chip.yaml"
    path.write_text(CHIP)
    return path


def saved(text: str, folder: Path) -> Path:
    path = folder / "model.onnx"
    save(model_from(text), path)
    return path


@needs_linker
@pytest.mark.skipif(platform.machine() != "x86_64", reason="NOT TESTED: this is no x86-64 machine")
def test_a_model_is_compiled_and_run_for_a_processor(tmp_path):
    out = tmp_path / "out"
    done = npuopt("compile", FASHION / "model.onnx", "--target", "host/x86-64", "-o", out)
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(out)
    assert [(step.road, step.files) for step in manifest.steps] == [
        ("tvm", ("tvm/npu-0/model.so", "tvm/npu-0/model.json", "tvm/npu-0/loader.py"))
    ]
    assert manifest.placement.host == 0
    assert manifest.verification[-1].outputs["logits"].max_abs < 1e-4
    images = np.load(FASHION / "test.npz")["input"][:2, None]
    np.savez(tmp_path / "in.npz", input=images)
    done = npuopt("run", out, "--inputs", tmp_path / "in.npz", "-o", tmp_path / "made.npz")
    assert done.returncode == 0, done.stderr
    session = Session(FASHION / "model.onnx", threads=1)
    expected = np.stack([session.run({"input": image})["logits"] for image in images])
    np.testing.assert_allclose(np.load(tmp_path / "made.npz")["logits"], expected, atol=1e-4)


@needs_linker
def test_tvm_runs_the_part_that_a_chip_leaves_to_the_host(chip, tmp_path):
    model = saved(f"(float[2, 4] x) => (float[2, 3] y) {WEIGHTS} {{ {ON_CHIP} y = Softmax(u) }}", tmp_path)
    done = npuopt("compile", model, "--target", chip, "--host", "tvm", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(tmp_path / "out")
    assert [(step.kind, step.road) for step in manifest.steps] == [("npu", "ort"), ("host", "tvm")]
    assert (tmp_path / "out" / "tvm" / manifest.steps[1].name / "model.so").is_file()
    assert manifest.verification[-1].outputs["y"].max_abs < 1e-6


@needs_linker
def test_every_node_that_tvm_cannot_take_is_named_in_one_sentence(chip, tmp_path):
    model = saved(
        f"""<ir_version: 10, opset_import: ["" : 22, "com.microsoft" : 1]>
        g (float[2, 4] x) => (float[2, 3] y) <float[2, 3] q, {WEIGHTS[1:]}
        {{ {ON_CHIP} [gate] q = com.microsoft.QuickGelu(u) [bent] r = Celu(q) y = Softmax(r) }}""",
        tmp_path,
    )
    done = npuopt("compile", model, "--target", chip, "--host", "tvm", "-o", tmp_path / "out")
    sentence = complaint(done, 7)
    assert "com.microsoft::QuickGelu node 'gate': TVM looks at the name only" in sentence
    assert "Celu node 'bent': TVM has no converter" in sentence
    assert "Softmax" not in sentence
    assert not (tmp_path / "out").exists()


def fake_cross_compiler(folder: Path) -> Path:
    """A command of the cross compiler's name that notes how it was called, keeps its input and links nothing."""
    program = f"""#!{sys.executable}
import json, pathlib, shutil, sys
arguments = sys.argv[1:]
objects = [item for item in arguments if item.endswith(".o")]
kept = {str(folder)!r}
for index, item in enumerate(objects):
    shutil.copy(item, f"{{kept}}/object{{index}}")
pathlib.Path(kept, "call.json").write_text(json.dumps(arguments))
pathlib.Path(arguments[arguments.index("-o") + 1]).write_bytes(b"linked")
"""
    command = folder / AARCH64["cross_compiler"]
    command.write_text(program)
    command.chmod(0o755)
    return command


def test_another_machines_compiler_links_what_does_not_run_here(tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    fake_cross_compiler(tools)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    model = saved("(float[2, 4] x) => (float[2, 4] y) { y = Relu(x) }", tmp_path)
    target = tmp_path / "arm.yaml"
    target.write_text(processor_yaml(**AARCH64))
    done = npuopt("compile", model, "--target", target, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    arguments = json.loads((tools / "call.json").read_text())
    assert arguments[:3] == ["-shared", "-fPIC", "-o"]
    assert Path(arguments[3]).name == "model.so"
    assert int.from_bytes((tools / "object0").read_bytes()[18:20], "little") == ELF_AARCH64
    assert (tmp_path / "out" / "tvm" / "npu-0" / "model.so").read_bytes() == b"linked"
    compared = read_manifest(tmp_path / "out").verification[-1]
    assert (compared.name, compared.samples) == ("compiled", 0)
    assert compared.skipped == "compiled for aarch64-unknown-linux-gnu; this machine is x86_64"
    assert "compiled not compared with model.onnx: compiled for aarch64" in done.stdout


@pytest.mark.crosscompile
@pytest.mark.skipif(platform.machine() != "x86_64", reason="NOT TESTED: this is no x86-64 machine")
def test_a_model_for_aarch64_is_linked_with_its_loader_and_runs_elsewhere_only(tmp_path):
    out = tmp_path / "out"
    done = npuopt("compile", FASHION / "model.onnx", "--target", "host/aarch64", "-o", out)
    assert done.returncode == 0, done.stderr
    library = out / "tvm" / "npu-0" / "model.so"
    assert int.from_bytes(library.read_bytes()[18:20], "little") == ELF_AARCH64
    assert library.with_name("loader.py").is_file()
    assert read_manifest(out).steps[0].figures["plain_functions"] == []
    np.savez(tmp_path / "in.npz", input=np.zeros((1, 1, 1, 28, 28), np.float32))
    sentence = complaint(npuopt("run", out, "--inputs", tmp_path / "in.npz"), 2)
    assert "this machine is x86_64; run it there with the loader.py beside it" in sentence


def test_a_linker_that_fails_is_told_in_one_sentence(tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    command = fake_cross_compiler(tools)
    command.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('cannot find -lm')\n")
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    model = saved("(float[2, 4] x) => (float[2, 4] y) { y = Relu(x) }", tmp_path)
    target = tmp_path / "arm.yaml"
    target.write_text(processor_yaml(**AARCH64))
    sentence = complaint(npuopt("compile", model, "--target", target, "-o", tmp_path / "out"), 7)
    assert "cannot find -lm" in sentence
    assert not (tmp_path / "out").exists()
