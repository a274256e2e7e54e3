"""The AMD XDNA road: what is written for the Vitis AI provider, in which form, and that its numbers are the graph's."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from npuopt.api import quantize
from npuopt.delegates.contract import Limits
from npuopt.delegates.vitisai.delegate import VitisAiDelegate
from npuopt.errors import InputError, InternalError
from npuopt.graph import Session
from npuopt.road.options import CompileOptions
from npuopt.target import load_target

LIMITS = Limits(seconds=60, memory_mib=2048)
HEAD = '<ir_version: 12, opset_import: ["" : 24]>'
FLOAT = """net (float[1,4] x) => (float[1,1] y) <int64[1] axes = {1}>
    { [act] a = Relu (x)  [mean] y = ReduceMean (a, axes) }"""
QUANTIZED = """net (float[4] x) => (float[4] y) <float scale = {0.5}, %s zero = {%s}>
    { [q] q = QuantizeLinear (x, scale, zero)  [dq] d = DequantizeLinear (q, scale, zero)  [act] a = Relu (d)
      [q2] r = QuantizeLinear (a, scale, zero)  [dq2] y = DequantizeLinear (r, scale, zero) }"""


@pytest.fixture
def written(tmp_path):
    """Compile ONNX text for a target; return the region."""

    def write(text: str, target="amd/xdna2"):
        model, folder = tmp_path / "model.onnx", tmp_path / "region"
        onnx.save(onnx.parser.parse_model(f"{HEAD} {text}"), model)
        folder.mkdir()
        return VitisAiDelegate().compile(model, folder, load_target(target), limits=LIMITS)

    return write


def read(region, name: str):
    return json.loads((region.folder / name).read_text())


def test_a_float_model_is_for_bfloat16(written):
    region = written(FLOAT)
    assert region.files == ("model.onnx", "provider_options.json", "vai_ep_config.json")
    assert region.figures["arithmetic"] == "bfloat16"
    options = read(region, "provider_options.json")
    assert options["config_file"] == "vai_ep_config.json"
    assert "target" not in options, "that option is for integers"
    passes = read(region, "vai_ep_config.json")
    assert passes["targets"] == [{"name": passes["target"], "pass": [one["name"] for one in passes["passes"]]}]


def test_a_quantized_model_names_the_compiler_of_its_chip(written):
    region = written(QUANTIZED % ("int8", 0))
    assert region.files == ("model.onnx", "provider_options.json")
    assert region.figures["arithmetic"] == "integers"
    assert region.figures["quantizers"] == 4
    options = read(region, "provider_options.json")
    assert options["target"] == "X2"
    assert "xclbin" not in options, "newer chips must not have it"


def test_the_first_xdna_needs_its_binary_named(written):
    options = read(written(QUANTIZED % ("uint8", 128), target="amd/xdna1"), "provider_options.json")
    assert options["target"] == "X1"
    assert options["xclbin"].endswith("4x4.xclbin")


@pytest.mark.parametrize(("kind", "domain"), [("int8", ""), ("int16", "com.microsoft")])
def test_the_model_is_written_in_opset_17(written, kind, domain):
    region = written(QUANTIZED % (kind, 0))
    model = onnx.load(region.folder / "model.onnx")
    onnx.checker.check_model(model)
    versions = {item.domain: item.version for item in model.opset_import}
    assert versions[""] == 17
    assert {node.domain for node in model.graph.node if "quantize" in node.op_type.lower()} == {domain}
    sample = {"x": np.array([-1, 0.3, 1, 70], np.float32)}
    (made,) = VitisAiDelegate().run(region, [sample], load_target("amd/xdna2"), limits=LIMITS)
    wanted = Session(region.folder.parent / "model.onnx").run(sample)
    assert np.array_equal(made["y"], wanted["y"])


def test_what_opset_17_has_not_is_named(written):
    with pytest.raises(InputError, match=r"'act' \(Gelu\) does not fit opset 17"):
        written("net (float[4] x) => (float[4] y) { [act] y = Gelu (x) }")


def test_another_roads_target_is_refused(written):
    with pytest.raises(InternalError, match="host/onnxruntime is compiled by ort, not by vitisai"):
        written(FLOAT, target="host/onnxruntime")


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    folder = tmp_path_factory.mktemp("xint8")
    text = f"""{HEAD} net (float[1,2,6,6] x) => (float[1,3,4,4] y) {{ c = Conv (x, w, b)  y = Relu (c) }}"""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    arrays = {"w": rng.normal(size=(3, 2, 3, 3)), "b": rng.normal(size=3)}
    model.graph.initializer.extend(numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items())
    onnx.save(model, folder / "model.onnx")
    np.savez(folder / "data.npz", x=rng.normal(size=(8, 1, 2, 6, 6)).astype(np.float32))
    made = folder / "quantized.onnx"
    options = CompileOptions(precision="xint8", calibration=str(folder / "data.npz"))
    quantize(folder / "model.onnx", "amd/xdna1", made, options)
    return onnx.load(made)


class TestTheIntegerForm:
    """XINT8 as AMD's quantizer writes it: powers of two, zero points in the middle, 8-bit biases by themselves."""

    def test_every_scale_is_a_power_of_two(self, quantized):
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
        scales = [arrays[node.input[1]] for node in quantized.graph.node if "quantize" in node.op_type.lower()]
        assert len(scales) >= 6
        assert all(np.all(np.frexp(scale)[0] == 0.5) for scale in scales)
        assert {scale.size for scale in scales} == {1}, "one scale a tensor"

    def test_types_and_zero_points(self, quantized):
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
        found = {
            ("activation" if node.input[0] not in arrays else f"constant of rank {arrays[node.input[0]].ndim}")
            + f": {arrays[node.input[2]].dtype} {arrays[node.input[2]].item()}"
            for node in quantized.graph.node
            if node.op_type == "DequantizeLinear"
        }
        assert found == {"activation: uint8 128", "constant of rank 4: int8 0", "constant of rank 1: int8 0"}
