"""The TVM road as a whole: compiled in a child, run with the runtime library alone, and every way it says no."""

import json
import os
import platform
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from delegates.host_cases import model_of, needs_linker, processor, relative_error, sample_for

from npuopt.delegates.contract import Limits
from npuopt.delegates.host.loader import Model
from npuopt.delegates.host.tvm_delegate import TvmDelegate, processor_of
from npuopt.delegates.registry import find_delegate
from npuopt.errors import InputError, UsageError, VendorToolError
from npuopt.graph import Session
from npuopt.target import load_target, parse_target
from npuopt.target.probing.questions import questions

pytestmark = [
    needs_linker,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the targets here are x86-64 processors"),
]

LIMITS = Limits(seconds=120, memory_mib=4096)
ARM = {"triple": "aarch64-linux-gnu", "cpu": "cortex-a76", "cross_compiler": "aarch64-linux-gnu-g++"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    random = np.random.default_rng(1)
    net = model_of(
        "a = Conv <pads = [1,1,1,1]> (image, w) b = Relu (a) g = GlobalAveragePool (b) f = Flatten (g) y = Softmax (f)",
        "float[1,3,8,8] image, int64[2] unused",
        "float[1,5] y, float[1,5,8,8] b",
        w=random.standard_normal((5, 3, 3, 3)).astype(np.float32),
    )
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    onnx.save(net, path)
    return path


@pytest.fixture(scope="module")
def region(model, tmp_path_factory):
    return TvmDelegate().compile(model, tmp_path_factory.mktemp("region"), processor(), limits=LIMITS)


def test_a_region_is_compiled_and_runs_as_onnx_runtime_does(model, region):
    assert region.files == ("model.so", "model.json", "loader.py")
    assert region.figures["library_bytes"] == (region.folder / "model.so").stat().st_size
    assert region.figures["plain_functions"] == []
    assert region.tools == {"apache-tvm": "0.27.0.post1"}
    samples = [sample_for(onnx.load(model), seed) for seed in range(3)]
    made = TvmDelegate().run(region, samples, processor(), limits=LIMITS)
    reference = Session(model, threads=1)
    for sample, outputs in zip(samples, made, strict=True):
        expected = reference.run(sample)
        assert list(outputs) == list(expected)
        assert max(relative_error(outputs[name], expected[name]) for name in expected) <= 1e-4


def test_the_road_is_found_by_its_name():
    assert isinstance(find_delegate("tvm"), TvmDelegate)


def test_the_artifact_runs_without_npuopt_and_without_the_compiler(region, tmp_path):
    folder = tmp_path / "elsewhere"
    shutil.copytree(region.folder, folder)
    program = f"""
import sys
sys.path.insert(0, {str(folder)!r})
import numpy as np
from loader import Model
model = Model({str(folder)!r})
assert list(model.inputs) == ["image", "unused"], model.inputs
result = model.run({{"image": np.ones((1, 3, 8, 8), np.float32), "unused": np.zeros(2, np.int64)}})
assert result["y"].shape == (1, 5) and abs(result["y"].sum() - 1) < 1e-5
assert "npuopt" not in sys.modules and "tvm.relax" not in sys.modules
try:
    model.run({{"image": np.ones((1, 3, 8, 8))}})
except ValueError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "TVM_USE_RUNTIME_LIB": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "input 'image' takes float32[1, 3, 8, 8], not float64[1, 3, 8, 8]" in done.stdout


def test_the_same_model_gives_the_same_bytes(model, region, tmp_path):
    again = TvmDelegate().compile(model, tmp_path, processor(), limits=LIMITS)
    for name in region.files:
        assert (again.folder / name).read_bytes() == (region.folder / name).read_bytes(), name


def test_nodes_that_tvm_cannot_take_are_named(tmp_path):
    path = tmp_path / "net.onnx"
    net = model_of("[odd] a = IsInf <detect_positive = 0> (x) y = Cast <to = 1> (a)", "float[2] x", "float[2] y")
    onnx.save(net, path)
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(VendorToolError, match="TVM refused it: IsInf node 'odd': it asks for one sign only"):
        TvmDelegate().compile(path, folder, processor(), limits=LIMITS)
    assert not (folder / "model.so").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": None}, "input 'image': is missing"),
        ({"image": np.zeros((1, 3, 8, 9), np.float32)}, r"has shape \[1, 3, 8, 9\], not \[1, 3, 8, 8\]"),
        ({"image": np.zeros((1, 3, 8, 8))}, "has type float64, not float32"),
    ],
)
def test_samples_that_do_not_fit(region, change, message):
    sample = {"image": np.zeros((1, 3, 8, 8), np.float32), "unused": np.zeros(2, np.int64)} | change
    sample = {name: array for name, array in sample.items() if array is not None}
    with pytest.raises(InputError, match=message):
        TvmDelegate().run(region, [sample], processor(), limits=LIMITS)


def test_a_region_for_another_machine_is_not_run(region, tmp_path):
    folder = tmp_path / "arm"
    shutil.copytree(region.folder, folder)
    description = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**description, "triple": "aarch64-linux-gnu"}))
    moved = type(region)(region.road, folder, region.files)
    with pytest.raises(UsageError, match="compiled for aarch64-linux-gnu; this machine is x86_64"):
        TvmDelegate().run(moved, [], processor(), limits=LIMITS)


def test_a_damaged_library_is_one_clear_error(region, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(region.folder, folder)
    (folder / "model.so").write_bytes(b"no library")
    sample = {"image": np.zeros((1, 3, 8, 8), np.float32), "unused": np.zeros(2, np.int64)}
    with pytest.raises(VendorToolError, match="the compiled model failed"):
        TvmDelegate().run(type(region)(region.road, folder, region.files), [sample], processor(), limits=LIMITS)


def test_a_limit_that_is_too_short_stops_the_compiler(model, tmp_path):
    with pytest.raises(VendorToolError, match="did not end in time"):
        TvmDelegate().compile(model, tmp_path, processor(), limits=Limits(seconds=0.2))


def chip(road):
    return parse_target(f"""
name: chip/test
title: a chip
source: this test
delegate: {{{road}}}
schemes: {{fp16: {{activation: float16}}}}
ops: {{Relu: {{schemes: [fp16]}}}}
""")


def test_the_host_of_a_chip_is_this_machine():
    assert processor_of(chip("road: ort")) == load_target("host/x86-64").delegate
    assert processor_of(chip("road: qnn, soc_model: 69, arch: v79, vtcm_mib: 8")).cpu == "x86-64-v3"


def test_a_machine_without_a_descriptor_has_to_be_described(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "loongarch64")
    with pytest.raises(UsageError, match=r"no target host/loongarch64.*--target with a descriptor"):
        processor_of(chip("road: ort"))


def test_outputs_stay_as_they_are_when_the_model_runs_again(tmp_path):
    """Inputs lie in buffers that are used again, and outputs are not copied: neither may be seen."""
    net = model_of(
        "y = Identity (x) z = Reshape (x, s) a = Relu (x) v = Reshape (a, s)",
        "float[2,3] x", "float[2,3] y, float[3,2] z, float[3,2] v, float[2,3] a", s=np.array([3, 2]),
    )  # fmt: skip
    onnx.save(net, tmp_path / "net.onnx")
    folder = tmp_path / "out"
    folder.mkdir()
    TvmDelegate().compile(tmp_path / "net.onnx", folder, processor(), limits=LIMITS)
    compiled = Model(folder)
    first = compiled.run({"x": np.full((2, 3), 1, np.float32)})
    second = compiled.run({"x": np.full((2, 3), 2, np.float32)})
    for value, outputs in ((1, first), (2, second)):
        assert all(set(outputs[name].ravel()) == {value} for name in "yzva")


@pytest.mark.parametrize(
    ("body", "inputs"),
    [("y = Identity (x)", "float[2,3] x"), ("y = Concat <axis = 1> (empty, x)", "float[2,0] empty, float[2,3] x")],
)
def test_what_leaves_nothing_to_compute_and_what_is_empty_run(body, inputs, tmp_path):
    """Copies alone leave a library without code; of an empty array numpy says other strides than TVM expects."""
    onnx.save(model_of(body, inputs, "float[2,3] y"), tmp_path / "net.onnx")
    folder = tmp_path / "out"
    folder.mkdir()
    region = TvmDelegate().compile(tmp_path / "net.onnx", folder, processor(), limits=LIMITS)
    sample = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}
    if "empty" in inputs:
        sample["empty"] = np.zeros((2, 0), np.float32)
    (made,) = TvmDelegate().run(region, [sample], processor(), limits=LIMITS)
    assert np.array_equal(made["y"], sample["x"])


def test_the_compiler_answers_questions():
    target = load_target("host/x86-64")
    asked = [one.question for one in questions(target, ["Relu", "Unique"])]
    relu, other = asked[0], asked[-1]
    taken, refused = TvmDelegate().probe([relu, other], target, limits=LIMITS)
    assert (taken.taken, taken.compared) == (True, True)
    assert (refused.taken, refused.compared) == (False, False)
    assert refused.reason


def test_a_machine_is_asked_about_itself_alone():
    with pytest.raises(UsageError, match="compiled for aarch64"):
        TvmDelegate().probe([], load_target("host/aarch64"), limits=LIMITS)
