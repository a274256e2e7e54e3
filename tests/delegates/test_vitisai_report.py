"""AMD's provider where it is there: what its report says of each node, and providers that do not work."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import onnx
import pytest
from delegates.vitisai_fake import write_fake

from npuopt import api
from npuopt.delegates.contract import Limits
from npuopt.delegates.vitisai.delegate import VitisAiDelegate
from npuopt.delegates.vitisai.report import nodes_on_device, read_report
from npuopt.errors import ToolchainMissingError, VendorToolError
from npuopt.road.options import CompileOptions
from npuopt.target import load_target

RECORDED = Path(__file__).with_name("recorded") / "vitisai_ep_report.json"
"""Written by hand after AMD's documentation and the source of what writes it."""
HEAD = '<ir_version: 12, opset_import: ["" : 17]>'
GRAPH = """net (float[1,2,4,4] x) => (float[1,3,4,4] y)
    <float scale = {0.5}, int8 zero = {0}, float low = {0}, float high = {6}, float[3,2,1,1] w = {1, 2, 3, 4, 5, 6}>
    { [first] q = QuantizeLinear (x, scale, zero)  [second] d = DequantizeLinear (q, scale, zero)
      [conv] c = Conv (d, w)  [clip] a = Clip (c, low, high)  [third] r = QuantizeLinear (a, scale, zero)
      [last] y = DequantizeLinear (r, scale, zero) }"""


def graph(text: str = GRAPH) -> onnx.GraphProto:
    return onnx.parser.parse_model(f"{HEAD} {text}").graph


def changed(tmp_path: Path, **parts: object) -> Path:
    """Write the recorded report with parts of it replaced."""
    path = tmp_path / "report.json"
    path.write_text(json.dumps({**json.loads(RECORDED.read_text()), **parts}))
    return path


class TestTheReport:
    def test_counts_by_device(self):
        assert read_report(RECORDED).figures() == {
            "provider_nodes": {"CPU": 2, "NPU": 4},
            "provider_npu_nodes": 4,
            "provider_subgraphs": {"Actually running on NPU": 1, "NPU": 1},
        }

    def test_nodes_are_found_by_what_they_make(self):
        placed = {node.name: node for node in nodes_on_device(graph(), read_report(RECORDED))}
        assert {name for name, node in placed.items() if node.on_npu} == {"second", "conv", "clip", "third"}
        assert placed["first"].reason == "the provider's report leaves it to ONNX Runtime's CPU kernels"

    def test_folded_nodes_are_left_out_and_new_ones_on_the_processor_are_not(self, tmp_path):
        nodes = json.loads(RECORDED.read_text())["nodeStat"]
        nodes[2] |= {"output": ["c/duplicated"], "device": "CPU"}
        counts = [{"name": "all", "nodeNum": 6}, {"name": "CPU", "nodeNum": 3}, {"name": "NPU", "nodeNum": 3}]
        report = read_report(changed(tmp_path, nodeStat=nodes, deviceStat=counts))
        placed = {node.name: node for node in nodes_on_device(graph(), report)}
        assert "conv" not in placed
        assert (placed["c/duplicated"].op_type, placed["c/duplicated"].on_npu) == ("Conv", False)

    def test_the_npu_by_its_older_names_and_the_providers_own_processor_kernels(self, tmp_path):
        nodes = json.loads(RECORDED.read_text())["nodeStat"]
        devices = ("VITIS_EP_CPU", "DPU", "IPU", "VAIML", "moon", "CPU")
        for node, device in zip(nodes, devices, strict=True):
            node["device"] = device
        counts = [{"name": "all", "nodeNum": 6}, *({"name": device, "nodeNum": 1} for device in devices)]
        report = read_report(changed(tmp_path, nodeStat=nodes, deviceStat=counts))
        placed = nodes_on_device(graph(), report)
        assert [node.on_npu for node in placed] == [False, True, True, True, False, False]
        assert "own CPU kernels" in placed[0].reason
        assert "'moon'" in placed[4].reason

    @pytest.mark.parametrize(
        ("parts", "why"),
        [
            ({"nodeStat": []}, "counts 6 nodes, 6 by device, and lists 0"),
            ({"deviceStat": [{"name": "all", "nodeNum": 6}]}, "counts 6 nodes, 0 by device, and lists 6"),
            ({"deviceStat": [{"name": "all", "nodeNum": -6}]}, "nodeNum is no count"),
            ({"nodeStat": [{"output": [1], "device": "NPU"}]}, "no list of names"),
            ({"nodeStat": [{"output": ["q"], "device": ["NPU"]}]}, "device is no text"),
            ({"nodeStat": {"output": "q"}}, "nodeStat is no list of objects"),
        ],
    )
    def test_a_report_that_contradicts_itself(self, tmp_path, parts, why):
        with pytest.raises(VendorToolError, match=re.escape(why)):
            read_report(changed(tmp_path, **parts))

    @pytest.mark.parametrize("text", ["", "[]", '{"nodeStat": ', "[" * 100_000])
    def test_what_is_no_report(self, tmp_path, text):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(VendorToolError, match="cannot be read"):
            read_report(tmp_path / "report.json")


MODEL = """net (float[1,4] x) => (float[1,4] y) <float scale = {0.5}, int8 zero = {0}>
    { [first] q = QuantizeLinear (x, scale, zero)  [second] d = DequantizeLinear (q, scale, zero)  [act] a = Relu (d)
      [third] r = QuantizeLinear (a, scale, zero)  [last] y = DequantizeLinear (r, scale, zero) }"""
FLOAT = "net (float[1,4] x) => (float[1,4] y) { [act] a = Relu (x)  [neg] y = Neg (a) }"


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """Name the stand-in, say how it behaves, and compile ONNX text; return the region."""

    def compile_it(how="", text=MODEL, seconds=60.0):
        write_fake(tmp_path / "fake")
        for name, value in {"PYTHONPATH": tmp_path / "fake", "XDG_CACHE_HOME": tmp_path, "FAKE_VITIS": how}.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setenv("NPUOPT_RYZEN_AI", sys.executable)
        onnx.save(onnx.parser.parse_model(f"{HEAD} {text}"), tmp_path / "model.onnx")
        (tmp_path / "out").mkdir()
        limits = Limits(seconds=seconds, memory_mib=2048)
        return VitisAiDelegate().compile(
            tmp_path / "model.onnx", tmp_path / "out", load_target("amd/xdna2"), limits=limits
        )

    return compile_it


class TestTheProvider:
    def test_its_word_on_each_node_and_its_cache(self, compiled):
        region = compiled()
        placed = {node.name: node.on_npu for node in region.nodes}
        assert placed == {"first": False, "second": True, "act": True, "third": True, "last": False}
        assert region.figures["provider_nodes"] == {"CPU": 2, "NPU": 3}
        assert region.figures["cache_bytes"] > 0
        assert "compiled" not in region.figures, "nothing is left to do"
        assert {"cache/region/compiled.xmodel", "cache/region/vitisai_ep_report.json"} < set(region.files)
        assert region.tools["onnxruntime-vitisai"] == "1.23.3"

    def test_a_float_model_is_found_under_its_bfloat16_compiler(self, compiled):
        assert all(node.on_npu for node in compiled(text=FLOAT).nodes)

    def test_a_node_left_to_the_processor_is_told_of(self, compiled):
        [left] = [node for node in compiled("partly").nodes if node.op_type == "Relu"]
        assert not left.on_npu

    @pytest.mark.parametrize(
        ("how", "error", "why"),
        [
            ("crash", VendorToolError, "AMD's Vitis AI provider crashed"),
            ("raise", VendorToolError, "refused it: RuntimeError: DPU timeout"),
            ("fallback", VendorToolError, "the session fell back to CPUExecutionProvider"),
            ("processor", VendorToolError, "left every node to the processor"),
            ("silent", VendorToolError, "wrote no report"),
            ("absent", ToolchainMissingError, "has no VitisAIExecutionProvider"),
        ],
    )
    def test_providers_that_do_not_work(self, compiled, how, error, why):
        with pytest.raises(error, match=why):
            compiled(how)

    def test_one_that_hangs_is_stopped(self, compiled):
        with pytest.raises(VendorToolError, match="did not end in time"):
            compiled("hang", seconds=3.0)

    def test_a_python_that_is_not_there(self, monkeypatch):
        monkeypatch.setenv("NPUOPT_RYZEN_AI", "/nowhere/python")
        with pytest.raises(ToolchainMissingError, match="cannot be run"):
            VitisAiDelegate().ensure_available()

    def test_silent_fallback_fails_the_whole_compile(self, compiled, tmp_path, monkeypatch):
        compiled("partly", text=FLOAT)
        with pytest.raises(VendorToolError, match="act"):
            api.compile(tmp_path / "model.onnx", "amd/xdna2", tmp_path / "made", CompileOptions(precision="bf16"))
        monkeypatch.setenv("FAKE_VITIS", "")
        manifest = api.compile(
            tmp_path / "model.onnx", "amd/xdna2", tmp_path / "made", CompileOptions(precision="bf16")
        )
        [figures] = [step.figures for step in manifest.steps if step.kind == "npu"]
        assert figures["provider_npu_nodes"] == figures["provider_nodes"]["VAIML"] > 0
