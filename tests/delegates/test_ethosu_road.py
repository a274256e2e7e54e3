"""The Ethos-U road with the real Vela, on small models."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from npuopt import api
from npuopt.delegates.contract import Limits
from npuopt.delegates.ethosu.delegate import EthosUDelegate
from npuopt.errors import VendorToolError
from npuopt.graph import save
from npuopt.road.options import CompileOptions
from npuopt.target import load_target
from support.rewrites import model_from
from support.toolchains import needs_toolchain

pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")
pytestmark = [pytest.mark.toolchain, pytest.mark.litert]


@pytest.fixture(scope="module", autouse=True)
def vela():
    return needs_toolchain("vela")


def network(folder, **convolution):
    """Write a convolution with the given attributes, a mean and a product, with data to calibrate them by."""
    random = np.random.default_rng(0)
    shapes = {"w": (8, 3, 3, 3), "b": (8,), "v": (8, 8)}
    constants = [numpy_helper.from_array(random.normal(size=of).astype("f"), name) for name, of in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "convolution", **{"pads": [1, 1, 1, 1], **convolution}),
        helper.make_node("Relu", ["c"], ["r"], "positive"),
        helper.make_node("GlobalAveragePool", ["r"], ["m"], "mean"),
        helper.make_node("Flatten", ["m"], ["f"], "flat"),
        helper.make_node("MatMul", ["f", "v"], ["y"], "product"),
    ]
    edge = [helper.make_tensor_value_info(name, 1, of) for name, of in (("x", [1, 3, 16, 16]), ("y", [1, 8]))]
    graph = helper.make_graph(nodes, "network", edge[:1], edge[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), folder / "m.onnx")
    np.savez(folder / "data.npz", x=random.normal(size=(8, 1, 3, 16, 16)).astype("f"))
    return folder / "m.onnx", folder / "data.npz"


@pytest.mark.parametrize("target", ["arm/ethos-u55-128", "arm/ethos-u65-256", "arm/ethos-u85-512"])
def test_a_small_network_is_on_the_npu_with_figures_and_numbers(tmp_path, target):
    model, data = network(tmp_path)
    manifest = api.compile(model, target, tmp_path / "out", CompileOptions(calibration=data))
    assert manifest.placement.npu_fraction == 1.0
    [step] = manifest.steps
    assert step.figures["cycles"]["npu"] > 0
    assert step.figures["toolchain"]["versions"] == {"ethos-u-vela": "5.2.0"}
    assert (tmp_path / "out" / step.files[0]).read_bytes().find(b"ethos-u") > 0
    [compiled] = [stage for stage in manifest.verification if stage.name == "compiled"]
    assert all((output.cosine or 1.0) > 0.999 for output in compiled.outputs.values())
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["tools"]["ethos-u-vela"] == "5.2.0"


ATTENTION = """(float[1, 8, 16] x) => (float[1, 8, 16] y) <float[16, 16] w = {WEIGHTS}> {
  [keys] k = MatMul(x, w) [turned] t = Transpose<perm=[0, 2, 1]>(k) [scores] s = MatMul(x, t)
  [shares] p = Softmax(s) [mixed] y = MatMul(p, x) }"""


@pytest.mark.parametrize(
    ("target", "narrow"), [("arm/ethos-u55-128", {"scores", "mixed"}), ("arm/ethos-u85-512", set())]
)
def test_16_bits_are_on_the_npu_beside_8_for_what_it_multiplies_at_run_time(tmp_path, target, narrow):
    random = np.random.default_rng(0)
    weights = ", ".join(f"{number:.4f}" for number in random.normal(size=256) / 8)
    save(model_from(ATTENTION.replace("WEIGHTS", weights)), tmp_path / "model.onnx")
    np.savez(tmp_path / "data.npz", x=random.normal(size=(8, 1, 8, 16)).astype("f"))
    wanted = CompileOptions(calibration=tmp_path / "data.npz", precision="a16w8")
    manifest = api.compile(tmp_path / "model.onnx", target, tmp_path / "out", wanted)
    assert manifest.placement.npu_fraction == 1.0
    held = json.loads((tmp_path / "out" / "encodings.json").read_text())["precisions"]
    assert len(held) == len(narrow)
    assert set(held.values()) <= {"a8w8"}
    stages = {stage.name: next(iter(stage.outputs.values())) for stage in manifest.verification}
    assert stages["compiled"].cosine > 0.9999
    assert stages["quantized"].cosine > (0.999 if narrow else 0.9999)


SPELLINGS = {
    "the op": "y = HardSwish(x)",
    "a hard sigmoid": "s = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x) y = Mul(x, s)",
    "a clip": "s = Add(x, three) c = Clip(s, none, six) p = Mul(x, c) y = Div(p, six)",
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_hard_swish_has_an_operator_of_8_bits_and_becomes_arithmetic_of_16(tmp_path, spelling):
    constants = "float three = {3}, float none = {0}, float six = {6}"
    text = f"(float[1, 8, 16, 16] x) => (float[1, 8, 16, 16] y) <{constants}> {{ {spelling} }}"
    save(model_from(text), tmp_path / "model.onnx")
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(0, 3, (8, 1, 8, 16, 16)).astype("f"))
    clipping = {"ADD", "HARD_SWISH", "MAXIMUM", "MINIMUM", "MUL", "RELU6"}
    for scheme, operators in {"a8w8": {"HARD_SWISH": 1}, "a16w8": {"ADD": 1, "MUL": 2}}.items():
        wanted = CompileOptions(calibration=tmp_path / "data.npz", precision=scheme)
        manifest = api.compile(tmp_path / "model.onnx", "arm/ethos-u85-512", tmp_path / scheme, wanted)
        assert manifest.placement.npu_fraction == 1.0
        written = manifest.steps[0].figures["operators"]
        assert {name: written[name] for name in written if name in clipping} == operators
        [compiled] = [stage for stage in manifest.verification if stage.name == "compiled"]
        assert all((output.cosine or 1.0) > 0.9999 for output in compiled.outputs.values())


def test_a_mean_over_few_positions_is_a_convolution_that_takes_fewer_cycles(tmp_path):
    cycles = {}
    for channels in (256, 264):
        text = f"(float[1, {channels}, 7, 7] x) => (float[1, {channels}, 1, 1] y) {{ y = GlobalAveragePool(x) }}"
        save(model_from(text), tmp_path / "model.onnx")
        data = np.random.default_rng(0).normal(size=(8, 1, channels, 7, 7)).astype("f")
        np.savez(tmp_path / "data.npz", x=data)
        wanted = CompileOptions(calibration=tmp_path / "data.npz")
        manifest = api.compile(tmp_path / "model.onnx", "arm/ethos-u55-128", tmp_path / f"{channels}", wanted)
        assert manifest.placement.npu_fraction == 1.0
        cycles[channels] = manifest.steps[0].figures["cycles"]["npu"]
    assert cycles[256] < cycles[264] / 2, "264 channels are no multiple of 16"


def test_strides_that_the_npu_lacks_become_channels(tmp_path):
    model, data = network(tmp_path, strides=[5, 4])
    manifest = api.compile(model, "arm/ethos-u55-128", tmp_path / "out", CompileOptions(calibration=data))
    assert manifest.placement.npu_fraction == 1.0
    assert any("lower-strided-conv" in node.lowered_by for node in manifest.nodes)
    [compiled] = [stage for stage in manifest.verification if stage.name == "compiled"]
    assert all((output.cosine or 1.0) > 0.999 for output in compiled.outputs.values())


def test_what_vela_does_not_take_is_an_error_with_its_reason(tmp_path):
    text = """(float[1, 4] x) => (float[1, 4] y) <float scale = {0.1}, int8 zero = {0}> {
      xq = QuantizeLinear(x, scale, zero) xd = DequantizeLinear(xq, scale, zero) [root] r = Cos(xd)
      rq = QuantizeLinear(r, scale, zero) y = DequantizeLinear(rq, scale, zero) }"""
    save(model_from(text), tmp_path / "region.onnx")
    (tmp_path / "out").mkdir()
    with pytest.raises(VendorToolError):
        EthosUDelegate().compile(
            tmp_path / "region.onnx", tmp_path / "out", load_target("arm/ethos-u55-128"), limits=Limits(60, 4096)
        )
