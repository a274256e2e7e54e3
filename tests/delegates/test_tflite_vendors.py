"""The roads of vendors whose compilers read TFLite: with stand-ins for the compilers, and where there is none."""

from __future__ import annotations

import shlex
import stat
import sys
from pathlib import Path

import pytest

pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")

import numpy as np
import onnx
from delegates.litert.litert_cases import Graph, held, weight

from npuopt import api
from npuopt.delegates.contract import Limits
from npuopt.delegates.tflite_vendors import aot, sdk
from npuopt.delegates.tflite_vendors.aot import LiteRtAotDelegate
from npuopt.delegates.tflite_vendors.edgetpu import EdgeTpuDelegate
from npuopt.delegates.tflite_vendors.edgetpu_report import read_report
from npuopt.errors import ToolchainMissingError, VendorToolError
from npuopt.graph.execution import Session
from npuopt.road.options import CompileOptions
from npuopt.target import load_target, parse_target

pytestmark = pytest.mark.litert

FAKE = Path(__file__).with_name("fake_tflite_compiler.py")
LIMITS = Limits(60, 4096)
TEXT, CONSTANTS = held("w", weight(8, 4, 3, 3), axis=0)
BODY = """c_real = Conv <pads = [1, 1, 1, 1]> (x, w)
c_q = QuantizeLinear(c_real, scale, zero) c = DequantizeLinear(c_q, scale, zero) y = Add(c, c)"""
NET = Graph(TEXT + BODY, {"x": "1,4,8,8"}, "1,8,8,8", CONSTANTS)


def program(folder, behaviour):
    """Write a program that behaves so."""
    script = folder / "compiler.sh"
    command = shlex.join([sys.executable, str(FAKE), behaviour])
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def named(folder):
    """Save the network, every node with a name."""
    path = NET.quantized(folder / "net.onnx", output="0.06 3")
    model = onnx.load(path)
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}-{index}"
    onnx.save(model, path)
    return path


def compile_for(name, folder, limits=LIMITS):
    made = folder / "made"
    made.mkdir()
    delegate = EdgeTpuDelegate() if name.endswith("edgetpu") else LiteRtAotDelegate()
    return delegate.compile(named(folder), made, load_target(name), limits=limits)


@pytest.fixture(params=["google/edgetpu", "mediatek/mt6991"])
def with_compiler(request, tmp_path, monkeypatch):
    """Return a target and a function that puts a compiler of a behaviour where its road looks for one."""

    def put(behaviour):
        script = program(tmp_path, behaviour)
        monkeypatch.setenv("NPUOPT_EDGETPU_COMPILER", str(script))
        library = tmp_path / "sdk" / "v8_0_10" / "host" / "lib"
        library.mkdir(parents=True)
        (library / "libneuron_adapter.so").write_bytes(b"")
        monkeypatch.setenv("NPUOPT_MEDIATEK_SDK", str(tmp_path / "sdk"))
        found = sdk.find_tool(load_target("mediatek/mt6991").delegate)
        monkeypatch.setattr(aot, "find_tool", lambda _: sdk.Tool(script, found.plug_in, found.libraries))

    return request.param, put


def test_a_model_that_is_taken_whole_is_on_the_npu_with_figures_and_numbers(with_compiler, tmp_path):
    name, put = with_compiler
    put("all")
    region = compile_for(name, tmp_path)
    assert region.nodes
    assert all(node.on_npu for node in region.nodes)
    assert region.figures["npu_operators"] == 1
    assert region.figures["binary_bytes"] == (region.folder / region.files[0]).stat().st_size
    sample = NET.sample()
    delegate = EdgeTpuDelegate() if region.road == "edgetpu" else LiteRtAotDelegate()
    [made] = delegate.run(region, [sample], load_target(name), limits=LIMITS)
    assert np.abs(made["y"] - Session(tmp_path / "net.onnx").run(sample)["y"]).max() <= 0.061


def test_a_node_that_is_left_is_named_with_the_reason(with_compiler, tmp_path):
    name, put = with_compiler
    put("but-the-last")
    left = [node for node in compile_for(name, tmp_path).nodes if not node.on_npu]
    assert [node.op_type for node in left] == ["Add"]
    assert "support" in left[0].reason


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("nothing", "left everything to the processor"),
        ("crash", r"crashed \(Segmentation fault"),
        ("fail", "failed with exit code 1: .*Invalid model"),
        ("silent", "wrote no model"),
        ("garbage", "not a TFLite model"),
    ],
)
def test_what_goes_wrong_in_the_compiler_is_one_error(with_compiler, tmp_path, behaviour, said):
    name, put = with_compiler
    put(behaviour)
    with pytest.raises(VendorToolError, match=said):
        compile_for(name, tmp_path)


def test_a_compiler_that_hangs_is_stopped(with_compiler, tmp_path):
    name, put = with_compiler
    put("hang")
    with pytest.raises(VendorToolError, match="did not end in time"):
        compile_for(name, tmp_path, Limits(10, 4096))


def test_a_flood_of_output_is_cut_and_read_in_time(with_compiler, tmp_path):
    name, put = with_compiler
    put("flood")
    region = compile_for(name, tmp_path)
    assert (region.folder / region.log).stat().st_size < 5 << 20
    assert all(node.on_npu for node in region.nodes)


@pytest.mark.parametrize("name", ["google/edgetpu", "google/tensor-g5", "mediatek/mt6993", "samsung/e9965"])
def test_without_a_compiler_the_artifact_says_the_next_command(tmp_path, monkeypatch, name):
    monkeypatch.setenv("PATH", "")
    region = compile_for(name, tmp_path)
    assert region.files == ("model.tflite", "model.json")
    assert region.nodes == ()
    chip = load_target(name).delegate
    wanted = "edgetpu_compiler --show_operations" if name.endswith("edgetpu") else f"--soc_model={chip.soc_model}"
    assert wanted in region.figures["npu_binary"]
    assert "install" in region.figures["npu_binary"]


def test_a_compiler_that_is_named_and_not_there_is_a_missing_toolchain(tmp_path, monkeypatch):
    monkeypatch.setenv("NPUOPT_EDGETPU_COMPILER", str(tmp_path / "nowhere"))
    with pytest.raises(ToolchainMissingError, match="NPUOPT_EDGETPU_COMPILER names"):
        compile_for("google/edgetpu", tmp_path)


def test_a_folder_without_the_sdk_is_a_missing_toolchain(tmp_path, monkeypatch):
    monkeypatch.setenv("NPUOPT_SAMSUNG_SDK", str(tmp_path))
    with pytest.raises(ToolchainMissingError, match=r"no libgraph_wrapper\.so"):
        compile_for("samsung/e9955", tmp_path)


def test_the_whole_road_ends_at_the_door_with_numbers(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    text = "c = Conv <pads = [1, 1, 1, 1]> (x, w) y = Relu(c)"
    constants = {"w": np.random.default_rng(0).normal(size=(8, 4, 3, 3)).astype(np.float32)}
    model = Graph(text, {"x": "1,4,8,8"}, "1,8,8,8", constants).in_float(tmp_path / "m.onnx")
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(1).normal(size=(4, 1, 4, 8, 8)).astype(np.float32))
    options = CompileOptions(calibration=tmp_path / "data.npz")
    manifest = api.compile(model, "google/edgetpu", tmp_path / "out", options)
    assert manifest.recipe["precision"] == "a8w8"
    assert manifest.placement.npu_fraction == 1.0
    assert "edgetpu_compiler is not found" in manifest.steps[0].figures["npu_binary"]
    [compiled] = [stage for stage in manifest.verification if stage.name == "compiled"]
    assert all((output.cosine or 0.0) > 0.999 for output in compiled.outputs.values())


def test_the_report_of_the_edge_tpu_compiler_is_read() -> None:
    report = read_report(
        "Edge TPU Compiler version 15.0.340273435\n"
        "On-chip memory used for caching model parameters: 3.00KiB\n"
        "On-chip memory remaining for caching model parameters: 7.67MiB\n"
        "Off-chip memory used for streaming uncached model parameters: 0.00B\n"
        "Number of Edge TPU subgraphs: 1\n\n"
        "Operator                       Count      Status\n\n"
        "CONV_2D                        1          Mapped to Edge TPU\n"
        "CONV_2D                        12         More than one subgraph is not supported\n"
        "LEAKY_RELU                     11         Operation not supported\n"
    )
    assert report["tools"] == {"edgetpu_compiler": "15.0.340273435"}
    assert (report["on_chip_bytes"], report["off_chip_bytes"]) == (3072, 0)
    assert (report["mapped_operators"], report["unmapped_operators"]) == (1, 23)
    assert report["statuses"]["LEAKY_RELU"] == "Operation not supported"
    assert read_report("anything\nelse") == {"statuses": {}}


@pytest.mark.qnn
def test_litert_s_own_tool_compiles_with_a_real_plug_in(tmp_path, monkeypatch):
    """Qualcomm's compiler is at hand; of its libraries only the one for audio, which nothing here uses, is not."""
    qnn = pytest.importorskip("onnxruntime_qnn", reason="the qnn extra is not installed")
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    (libraries / "libQnnLpai.so").symlink_to(Path(qnn.__file__).parent / "libQnnHtp.so")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(libraries))
    monkeypatch.setenv("NPUOPT_QUALCOMM_SDK", str(Path(qnn.__file__).parent))
    target = parse_target(
        "{extends: android/litert, name: qualcomm/try, title: try, delegate: {road: litert-aot, vendor: qualcomm,"
        " manufacturer: Qualcomm, soc_model: SM8750, library: libQnnHtp.so}}"
    )
    made = tmp_path / "made"
    made.mkdir()
    region = LiteRtAotDelegate().compile(named(tmp_path), made, target, limits=LIMITS)
    assert region.files[0] == "model_npu.tflite"
    assert all(node.on_npu for node in region.nodes)
    assert region.figures["selected_operators"] == region.figures["all_operators"] == 2
