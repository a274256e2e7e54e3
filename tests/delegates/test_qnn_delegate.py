"""The Hexagon road against the real compiler and simulator: what it proves, and every trap it must not fall into."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import onnx.parser
import pytest
from delegates.qnn_cases import float_model, hexagon, quantized_model

from npuopt.delegates.contract import Limits
from npuopt.delegates.qnn.delegate import QnnDelegate, provider_options
from npuopt.errors import InputError, InternalError, UsageError, VendorToolError
from npuopt.graph.execution import Session
from npuopt.target import parse_target

pytestmark = [pytest.mark.qnn, pytest.mark.xdist_group("qnn")]
pytest.importorskip("onnxruntime_qnn", reason="the qnn extra is not installed")

LIMITS = Limits(seconds=120, memory_mib=4096)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def region(tmp_path):
    """Compile a file into its own folder."""

    def compile_it(model, target=None):
        folder = tmp_path / f"region-{model.stem}"
        folder.mkdir()
        return QnnDelegate().compile(model, folder, target or hexagon(), limits=LIMITS)

    return compile_it


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-3, 3, (1, 4, 8, 8)).astype(np.float32)


def test_a_container_for_the_vendors_own_tools_on_request(region, tmp_path):
    compiled = region(quantized_model(tmp_path / "net.onnx"), hexagon(more=", dlc: true"))
    assert compiled.files[-1] == "net.dlc"
    path = compiled.folder / "net.dlc"
    assert compiled.figures["dlc_bytes"] == path.stat().st_size
    assert b"conv" in path.read_bytes(), "the graph names the nodes; its zip has no checksums to read parts by"
    assert not (compiled.folder / "dlc").exists()


def test_a_quantized_region_is_compiled_and_proven(region, tmp_path):
    compiled = region(quantized_model(tmp_path / "net.onnx"))
    placed = {node.name: node for node in compiled.nodes}
    assert [node.op_type for node in compiled.nodes if node.edge] == ["QuantizeLinear", "DequantizeLinear"]
    assert all(node.on_npu for node in compiled.nodes if not node.edge)
    assert {"x_q", "x_dq", "w_dq", "conv", "c_q", "c_dq", "act", "a_q", "a_dq"} <= set(placed)
    assert not [node.reason for node in compiled.nodes if not node.edge and node.reason]
    figures = compiled.figures
    assert (figures["soc"], figures["arch"], figures["soc_model"]) == ("SM8750", "v79", 69)
    assert figures["vtcm_bytes"] == 8 << 20
    assert figures["npu_graphs"] == 1
    assert figures["npu_operations"]["Conv2d"] == 1
    assert figures["binary_bytes"] == (compiled.folder / compiled.files[1]).stat().st_size
    assert compiled.tools["qnn-sdk"].startswith("v2.")
    assert set(compiled.tools) == {"onnxruntime", "onnxruntime-qnn", "qnn-sdk"}
    assert all((compiled.folder / name).is_file() for name in (*compiled.files, compiled.log))
    assert "no standalone redistribution" in figures["licence"]


def test_figures_hold_no_cycles_of_the_simulating_machine(region, tmp_path):
    figures = region(quantized_model(tmp_path / "net.onnx")).figures
    assert not [name for name in figures if "cycle" in name or "latency" in name]
    assert "profiling_level" not in provider_options(hexagon())


def test_the_simulator_gives_what_the_quantized_model_gives(region, tmp_path):
    model = quantized_model(tmp_path / "net.onnx")
    samples = [{"x": image(seed)} for seed in range(3)]
    simulated = QnnDelegate().run(region(model), samples, hexagon(), limits=LIMITS)
    reference = Session(model, threads=1)
    for sample, outputs in zip(samples, simulated, strict=True):
        assert outputs["y"].dtype == np.float32
        assert np.abs(outputs["y"] - reference.run(sample)["y"]).max() <= 0.03 + 1e-6, "one step of the encoding"
    uncompiled = QnnDelegate().run_uncompiled(model, samples, hexagon(), limits=LIMITS)
    assert all(np.array_equal(a["y"], b["y"]) for a, b in zip(simulated, uncompiled, strict=True))


def test_a_float_region_compiles_because_the_chip_is_named(region, tmp_path):
    assert provider_options(hexagon()) == {"backend_type": "htp", "soc_model": "69"}
    compiled = region(float_model(tmp_path / "plain.onnx", "[act] y = Gelu (x)"))
    assert [(node.name, node.on_npu) for node in compiled.nodes] == [("act", True)]


def test_names_are_those_of_the_region_after_its_layout_was_changed(region, tmp_path):
    compiled = region(quantized_model(tmp_path / "net.onnx"))
    trace = (compiled.folder / compiled.files[2]).read_text()
    assert "conv_token_" in trace
    assert {"conv", "act"} <= {node.name for node in compiled.nodes if node.on_npu}
    assert not [node for node in compiled.nodes if "_token_" in node.name and not node.edge]


def test_what_the_tool_inserts_on_the_host_is_seen(region, tmp_path):
    compiled = region(quantized_model(tmp_path / "net.onnx", op="GlobalAveragePool"))
    strays = [node for node in compiled.nodes if not node.on_npu and not node.edge]
    assert [node.op_type for node in strays] == ["Transpose", "QuantizeLinear"]
    assert {node.reason for node in strays} == {"inserted by the tool, on the host"}


def test_a_refused_node_is_named_with_the_vendors_reason(region, tmp_path):
    compiled = region(
        float_model(tmp_path / "mixed.onnx", "[first] a = Relu (x) [odd] b = Erf (a) [last] y = Relu (b)")
    )
    placed = {node.name: node for node in compiled.nodes}
    assert [name for name, node in placed.items() if node.on_npu] == ["first", "last"]
    assert "Operators of type `Erf` are not supported" in placed["odd"].reason
    assert compiled.figures["npu_graphs"] == 2


def test_layer_normalization_with_signed_scale_is_refused_and_unsigned_is_taken(region, tmp_path):
    assert not normalization_on_npu(region, tmp_path, "int8")
    assert normalization_on_npu(region, tmp_path, "uint8")


def normalization_on_npu(region, tmp_path, weight: str) -> bool:
    text = f"""
        <ir_version: 10, opset_import: ["" : 24]>
        normalized (float[1,8,4] x) => (float[1,8,4] y)
        <float s = {{0.03}}, uint8 z = {{128}}, float ws = {{0.01}},
         {weight}[4] w = {{100, 90, 80, 70}}, {weight} wz = {{0}}>
        {{
            [x_q] xq = QuantizeLinear (x, s, z)
            [x_dq] xd = DequantizeLinear (xq, s, z)
            [w_dq] wd = DequantizeLinear (w, ws, wz)
            [norm] n = LayerNormalization <axis = -1> (xd, wd)
            [n_q] nq = QuantizeLinear (n, s, z)
            [n_dq] nd = DequantizeLinear (nq, s, z)
            [act] a = Relu (nd)
            [a_q] aq = QuantizeLinear (a, s, z)
            [a_dq] y = DequantizeLinear (aq, s, z)
        }}
    """
    path = tmp_path / f"{weight}.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    return {node.name: node.on_npu for node in region(path).nodes}["norm"]


def test_what_is_quantized_in_the_graph_and_float_on_the_chip_is_said(region, tmp_path):
    text = """
        <ir_version: 10, opset_import: ["" : 24]>
        reshaped (float[1,8,4] x) => (float[8,4] y)
        <float s = {0.03}, float t = {0.04}, uint8 z = {128}, int64[2] shape = {8, 4}>
        {
            [x_q] xq = QuantizeLinear (x, s, z)
            [x_dq] xd = DequantizeLinear (xq, s, z)
            [move] r = Reshape (xd, shape)
            [r_q] rq = QuantizeLinear (r, t, z)
            [r_dq] y = DequantizeLinear (rq, t, z)
        }
    """
    path = tmp_path / "reshaped.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    placed = {node.name: node for node in region(path).nodes}
    assert placed["move"].on_npu
    assert placed["move"].reason == "computed in float between Dequantize and Quantize"


def test_a_chip_number_that_does_not_exist_is_an_error_and_not_the_cpu(region, tmp_path):
    with pytest.raises(VendorToolError, match="took no node"):
        region(quantized_model(tmp_path / "net.onnx"), hexagon(soc_model=999))


def test_a_chip_that_is_not_what_the_descriptor_says_is_an_error(region, tmp_path):
    with pytest.raises(VendorToolError, match=r"built for SM8650 \(v75, 8 MiB VTCM\), but test/hexagon is v79"):
        region(quantized_model(tmp_path / "net.onnx"), hexagon(soc_model=57))


def test_float_on_a_chip_without_float_is_an_error(region, tmp_path):
    v68 = hexagon(soc_model=30, arch="v68", vtcm_mib=4)
    with pytest.raises(VendorToolError, match="the Hexagon compiler"):
        region(float_model(tmp_path / "plain.onnx", "[act] y = Gelu (x)"), v68)


def test_a_node_that_kills_the_session_is_an_error(region, tmp_path):
    body = "[norm] y = GroupNormalization <num_groups = 2> (x, scale, bias)"
    text = f"""
        <ir_version: 10, opset_import: ["" : 24]>
        grouped (float[1,4,8,8] x) => (float[1,4,8,8] y)
        <float[4] scale = {{1, 1, 1, 1}}, float[4] bias = {{0, 0, 0, 0}}>
        {{ {body} }}
    """
    path = tmp_path / "grouped.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    with pytest.raises(VendorToolError, match="the Hexagon compiler"):
        region(path, hexagon(soc_model=35, arch="v68", vtcm_mib=2))


def test_a_region_of_another_chip_is_not_run(region, tmp_path):
    compiled = region(quantized_model(tmp_path / "net.onnx"))
    other = hexagon(soc_model=57, arch="v75")
    with pytest.raises(UsageError, match=r"compiled for SoC 69 \(SM8750\), not for 57"):
        QnnDelegate().run(compiled, [{"x": image()}], other, limits=LIMITS)
    forged = dataclasses.replace(compiled, figures={"soc_model": 57})
    with pytest.raises(VendorToolError, match=r"built for SM8750 \(v79"):
        QnnDelegate().run(forged, [{"x": image()}], other, limits=LIMITS)


def test_a_failing_run_is_an_error_and_not_repeated_on_the_cpu(region, tmp_path):
    text = """
        <ir_version: 10, opset_import: ["" : 24]>
        lookup (float[4,8] table, int32[1,2] index) => (float[1,2,8] y)
        { [rows] y = Gather <axis = 0> (table, index) }
    """
    path = tmp_path / "lookup.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    good, bad = ({"table": np.ones((4, 8), np.float32), "index": np.array([[0, last]], np.int32)} for last in (3, 400))
    compiled = region(path)
    simulated = QnnDelegate().run(compiled, [good], hexagon(), limits=LIMITS)
    assert simulated[0]["y"].shape == (1, 2, 8)
    with pytest.raises(VendorToolError, match="the Hexagon simulator"):
        QnnDelegate().run(compiled, [bad], hexagon(), limits=LIMITS)


def test_numbers_of_which_the_host_made_a_part_are_refused(tmp_path):
    path = float_model(tmp_path / "mixed.onnx", "[first] a = Relu (x) [odd] y = Erf (a)")
    with pytest.raises(VendorToolError, match="leaves Erf node 'odd' to the host"):
        QnnDelegate().run_uncompiled(path, [{"x": np.ones((1, 8, 16), np.float32)}], hexagon(), limits=LIMITS)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({}, "input 'x': is missing"),
        ({"x": np.ones((1, 4, 8, 8))}, "has type float64, not float32"),
        ({"x": np.ones((1, 4, 8), np.float32)}, r"has shape \[1, 4, 8\], not \[1, 4, 8, 8\]"),
        ({"x": np.ones((1, 4, 8, 9), np.float32)}, r"has shape \[1, 4, 8, 9\]"),
    ],
)
def test_samples_must_fit(tmp_path, sample, message):
    with pytest.raises(InputError, match=message):
        QnnDelegate().run_uncompiled(quantized_model(tmp_path / "net.onnx"), [sample], hexagon(), limits=LIMITS)


def test_what_the_libraries_print_goes_to_the_log(region, tmp_path, capfd):
    compiled = region(quantized_model(tmp_path / "net.onnx"))
    assert capfd.readouterr() == ("", "")
    assert (compiled.folder / compiled.log).is_file()


def test_a_hanging_compiler_is_stopped(tmp_path):
    folder = tmp_path / "region"
    folder.mkdir()
    with pytest.raises(VendorToolError, match="did not end in time"):
        QnnDelegate().compile(quantized_model(tmp_path / "net.onnx"), folder, hexagon(), limits=Limits(0.05, 4096))


def test_nodes_need_names_of_their_own(tmp_path):
    path = float_model(tmp_path / "nameless.onnx", "y = Relu (x)")
    with pytest.raises(InternalError, match="a node has no name"):
        QnnDelegate().compile(path, tmp_path, hexagon(), limits=LIMITS)


def test_a_target_of_another_road_is_a_bug(tmp_path):
    other = parse_target("""
name: test/host
title: a host
source: test
delegate: {road: tvm, triple: x86_64-linux-gnu, cpu: x86-64}
schemes: {fp32: {activation: float32}}
ops: {Relu: {schemes: [fp32]}}
""")
    with pytest.raises(InternalError, match="test/host is compiled by tvm, not by qnn"):
        QnnDelegate().compile(quantized_model(tmp_path / "net.onnx"), tmp_path, other, limits=LIMITS)
