"""The Sony road against a stand-in for the converter: what the converter gets, and what is read from it."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from npuopt.delegates.contract import Limits
from npuopt.delegates.imx500 import delegate as road
from npuopt.delegates.imx500.quantizers import write_quantizers
from npuopt.errors import VendorToolError
from npuopt.target import load_target
from npuopt.toolchain import Environment
from support.toolchains import with_first_on_path

PRODUCT = """
    <ir_version: 10, opset_import: ["" : 24]> net (float[1,2,4,4] x) => (float[1,3,4,4] y)
    <float s = {0.25}, int8 z = {0}, float t = {0.5}, float bs = {0.125}> {
        [xq] xq = QuantizeLinear (x, s, z)  [xd] xd = DequantizeLinear (xq, s, z)
        [held] w = DequantizeLinear <axis = 0> (wq, ws, wz)  [bias] b = DequantizeLinear <axis = 0> (bq, bs3)
        [conv] c = Conv (xd, w, b)
        [yq] yq = QuantizeLinear (c, t, z)  [yd] y = DequantizeLinear (yq, t, z)
    }
"""
REPORT = {
    "Runtime Memory Physical Size": "77880B", "Model Memory Physical Size": "85220B", "Memory Usage": "164090B",
    "Total Memory Available On Chip": "8388608B", "Fit In Chip": True,
}  # fmt: skip
CONVERTER = f"""#!{sys.executable}
import json, os, sys, time
from pathlib import Path
says = json.loads(os.environ["FAKE_IMX500"])
out, stem = Path(sys.argv[sys.argv.index("--output-dir") + 1]), Path(sys.argv[sys.argv.index("--input-path") + 1]).stem
if says.get("crash"):
    os.abort()
if says.get("hang"):
    time.sleep(60)
print(says.get("log", "Converted successfully"))
if not says.get("code"):
    (out / (stem + "_MemoryReport.json")).write_text(json.dumps({{"Memory Report": says["report"]}}))
    (out / "packerOut.zip").write_bytes(b"packed")
    (out / "dnnParams.xml").write_text("<dnnParams/>")
sys.exit(says.get("code", 0))
"""


def quantized_model(folder, weight_scale=(0.5, 0.25, 1.0), text=PRODUCT):
    """Write a convolution between quantizers whose scales are powers of two."""
    random = np.random.default_rng(0)
    arrays = {
        "wq": random.integers(-127, 128, (3, 2, 1, 1)).astype(np.int8), "ws": np.float32(weight_scale),
        "wz": np.zeros(3, np.int8), "bq": np.int32([8, -8, 16]), "bs3": np.full(3, 0.125, np.float32),
    }  # fmt: skip
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.save(model, folder / "region.onnx")
    return folder / "region.onnx", arrays


def test_quantization_becomes_sonys_quantizers(tmp_path):
    source, arrays = quantized_model(tmp_path)
    write_quantizers(source, tmp_path / "out.onnx")
    model = onnx.load(tmp_path / "out.onnx")
    assert [node.op_type for node in model.graph.node] == [
        "ActivationPOTQuantizer", "WeightsPOTQuantizer", "Conv", "ActivationPOTQuantizer",
    ]  # fmt: skip
    attributes = [
        {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute} for node in model.graph.node
    ]
    assert [attributes[place]["threshold"] for place in (0, 3)] == [32.0, 64.0]
    assert (attributes[1]["per_channel"], attributes[1]["channel_axis"]) == (1, 0)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    held = model.graph.node[1]
    np.testing.assert_array_equal(constants[held.input[1]], [64.0, 32.0, 128.0])
    weight = arrays["wq"].astype(np.float32) * arrays["ws"].reshape(3, 1, 1, 1)
    np.testing.assert_array_equal(constants[held.input[0]], weight)
    np.testing.assert_array_equal(constants[model.graph.node[2].input[2]], [1, -1, 2])
    assert (model.producer_name, model.opset_import[0].version) == ("pytorch", 15)


def test_names_that_the_converter_stumbles_over_are_written_plainly(tmp_path):
    source, _ = quantized_model(tmp_path)
    model = onnx.load(source)
    for node in model.graph.node:
        node.input[:] = ["onnx::w" if name == "w" else name for name in node.input]
        node.output[:] = ["onnx::w" if name == "w" else name for name in node.output]
        node.name = {"xd": "a_b", "yd": "a:b"}.get(node.name, node.name)
    onnx.save(model, source)
    write_quantizers(source, tmp_path / "out.onnx")
    graph = onnx.load(tmp_path / "out.onnx").graph
    assert [node.name for node in graph.node] == ["a_b", "held", "conv", "a_b_1"]
    assert graph.node[2].input[1] == graph.node[1].output[0] == "onnx__w"
    assert [graph.input[0].name, graph.output[0].name] == ["x", "y"]


def test_shapes_are_written_in_full(tmp_path):
    text = """
        <ir_version: 10, opset_import: ["" : 24]> net (float[1,4,4,4] x) => (float[1,64] y)
        <float s = {0.25}, int8 z = {0}, int64[2] flat = {0, -1}> {
            [xq] xq = QuantizeLinear (x, s, z)  [xd] xd = DequantizeLinear (xq, s, z)  [move] r = Reshape (xd, flat)
            [yq] yq = QuantizeLinear (r, s, z)  [yd] y = DequantizeLinear (yq, s, z)
        }
    """
    onnx.save(onnx.parser.parse_model(text), tmp_path / "region.onnx")
    write_quantizers(tmp_path / "region.onnx", tmp_path / "out.onnx")
    [shape] = onnx.load(tmp_path / "out.onnx").graph.initializer
    assert numpy_helper.to_array(shape).tolist() == [1, 64]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"weight_scale": (0.3, 0.25, 1.0)}, "takes powers of two only, not 38.4"),
        ({"text": PRODUCT.replace("int8 z = {0}", "int8 z = {3}")}, "takes no zero points"),
        ({"text": PRODUCT.replace("float t = {0.5}", "float t = {0.6}")}, "takes powers of two only, not 76.8"),
    ],
)
def test_what_the_sensor_cannot_compute_is_refused(tmp_path, change, sentence):
    source, _ = quantized_model(tmp_path, **change)
    with pytest.raises(VendorToolError, match=sentence):
        write_quantizers(source, tmp_path / "out.onnx")


@pytest.fixture
def compile_with(tmp_path, monkeypatch):
    """Compile the convolution with a stand-in for converter and Java."""

    def compile_it(seconds=60.0, java=True, **says):
        tools = tmp_path / "tools"
        tools.mkdir()
        for name in ("imxconv-pt", *(("java",) if java else ())):
            (tools / name).write_text(CONVERTER)
            (tools / name).chmod(0o755)
        python = tools / "python"
        python.symlink_to(sys.executable)
        monkeypatch.setenv("FAKE_IMX500", json.dumps({"report": REPORT, **says}))
        monkeypatch.setenv("PATH", with_first_on_path(tools) if java else str(tools))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        found = Environment("imx500", tmp_path, str(python), {}, "none", "0")
        monkeypatch.setattr(road, "environment", lambda _: found)
        source, _ = quantized_model(tmp_path)
        (tmp_path / "out").mkdir()
        limits = Limits(seconds=seconds, memory_mib=2048)
        return road.Imx500Delegate().compile(source, tmp_path / "out", load_target("sony/imx500"), limits=limits)

    return compile_it


def test_the_memory_report_becomes_figures(compile_with):
    region = compile_with()
    assert region.figures["weights_bytes"] == 85220
    assert (region.figures["memory_bytes"], region.figures["chip_bytes"]) == (164090, 8 << 20)
    assert region.files[0] == "packerOut.zip"
    assert all((region.folder / file).is_file() for file in region.files)
    assert all(node.on_npu for node in region.nodes)


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ({"crash": True}, "the IMX500 converter refused it: it ended with code -6"),
        ({"code": 1, "log": "2026 ERROR : CODE: [USOP] The network contains unsupported ops: Asinh [/a/b.py:1]"},
         r"refused it: \[USOP\] The network contains unsupported ops: Asinh; its log"),
        ({"code": 1, "log": "2026 ERROR : CODE: [INVOP] Errors are:\nNode: a\n  0 in shape [/a:1]\n2026-1 INFO"},
         r"refused it: \[INVOP\] Errors are: Node: a 0 in shape; its log"),
        ({"report": {**REPORT, "Fit In Chip": False}}, "takes 164090 of the sensor's 8388608 bytes"),
        ({"report": {"Fit In Chip": True}}, "memory report is of an unknown form"),
        ({"java": False}, "it needs Java 17 on PATH"),
        ({"hang": True, "seconds": 3.0}, "did not end in time"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_sentence(compile_with, says, sentence):
    with pytest.raises(VendorToolError, match=sentence):
        compile_with(**says)
