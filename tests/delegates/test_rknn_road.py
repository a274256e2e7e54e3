"""The Rockchip road with the real toolkit: a trained network in 8 bits, and what falls back in silence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from npuopt import api
from npuopt.delegates.contract import Limits
from npuopt.delegates.rknn.delegate import RknnDelegate
from npuopt.errors import VendorToolError
from npuopt.graph import save
from npuopt.graph.execution import Session
from npuopt.road.options import CompileOptions
from npuopt.runtime import Artifact
from npuopt.target import load_target
from npuopt.verify import compare_runs
from support.paths import EXAMPLES
from support.rewrites import model_from
from support.toolchains import needs_toolchain

pytestmark = pytest.mark.toolchain

LIMITS = Limits(seconds=120, memory_mib=4096)


@pytest.fixture(scope="module", autouse=True)
def toolkit():
    return needs_toolchain("rknn")


def test_a_trained_network_in_8_bits_keeps_30_db_in_the_simulator(tmp_path):
    folder = EXAMPLES / "fashion_mnist"
    images = np.load(folder / "calibration.npz")["input"][:, None]
    np.savez(tmp_path / "data.npz", input=images[:64])
    options = CompileOptions(
        dims={"batch": 1}, calibration=tmp_path / "data.npz", precision="a8w8", samples=1, verify="each"
    )
    manifest = api.compile(folder / "model.onnx", "rockchip/rk3588", tmp_path / "out", options)
    assert manifest.placement.npu_fraction == 1.0
    [step] = manifest.steps
    assert step.figures["toolchain"]["versions"] == {"rknn-toolkit2": "2.5.0"}
    assert step.figures["cycles"]["npu"] > 10_000
    assert step.figures["weights_bytes"] > 50_000
    layers = next(stage for stage in manifest.verification if stage.name == "layers of npu-0")
    assert len(layers.outputs) > 15
    assert all((layer.cosine or 0) > 0.99 for layer in layers.outputs.values())
    samples = [{"input": image} for image in images[-8:]]
    made = Artifact.open(tmp_path / "out").run(samples, engine="device", limits=LIMITS)
    session = Session(folder / "model.onnx")
    [logits] = compare_runs([session.run(sample) for sample in samples], made).values()
    assert logits.sqnr_db >= 30


def test_a_node_that_the_toolkit_hands_to_the_processor_in_silence_is_found(tmp_path):
    text = "(float[1, 4, 8, 8] x) => (float[1, 4, 8, 8] y) { [round] r = Asinh(x) [positive] y = Relu(r) }"
    save(model_from(text), tmp_path / "region.onnx")
    (tmp_path / "out").mkdir()
    target = load_target("rockchip/rk3588")
    region = RknnDelegate().compile(tmp_path / "region.onnx", tmp_path / "out", target, limits=LIMITS)
    assert [(node.name, node.on_npu) for node in region.nodes if node.name == "round"] == [("round", False)]


BETWEEN = """(float[1, 8, 16, 16] x) => (float[1, 8, 16, 16] y)
    <float s = {0.05}, int8 z = {3}, float[4] same = {1, 1, 1, 1},
    float[16] scale = {1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4},
    float[16] bias = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3}> {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
        r = Relu(d) rq = QuantizeLinear(r, s, z) rd = DequantizeLinear(rq, s, z)
        [inner] m = NODE
        mq = QuantizeLinear(m, s, z) md = DequantizeLinear(mq, s, z)
        e = Relu(md) eq = QuantizeLinear(e, s, z) y = DequantizeLinear(eq, s, z) }"""


@pytest.mark.parametrize(
    "node",
    [
        "Softmax(rd)",
        "LayerNormalization<axis = -1>(rd, scale, bias)",
        "Swish(rd)",
        "Tanh(rd)",
        "MatMul(rd, rd)",
        'Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">(rd, , same)',
    ],
)
def test_an_op_in_float_between_tensors_of_8_bits_is_the_npus(tmp_path, node):
    model = model_from(BETWEEN.replace("NODE", node))
    target = load_target("rockchip/rk3588")
    assert target.accepts(next(one for one in model.graph if one.name == "inner"), "a8w8")
    save(model, tmp_path / "region.onnx")
    (tmp_path / "out").mkdir()
    region = RknnDelegate().compile(tmp_path / "region.onnx", tmp_path / "out", target, limits=LIMITS)
    assert [one.op_type for one in region.nodes if not one.on_npu and not one.edge] == []


@pytest.mark.parametrize("chip", ["rk3588", "rv1106"])
def test_a_convolution_behind_a_concat_in_8_bits_stays_in_8_bits(tmp_path, chip):
    numbers = ",".join(f"{number:.3f}" for number in np.random.default_rng(0).normal(0, 0.2, 64 * 16))
    text = f"""(float[1,16,32,32] x) => (float[1,16,32,32] y)
        <float[64,16,1,1] wide = {{{numbers}}}, float[16,128,1,1] narrow = {{{numbers},{numbers}}}> {{
        a = Conv(x, wide) b = Relu(a) c = Neg(x) d = Conv(c, wide) e = Relu(d)
        f = Concat<axis = 1>(b, e) g = Conv(f, narrow) y = Relu(g) }}"""
    save(model_from(text), tmp_path / "m.onnx")
    options = CompileOptions(calibration="random", precision="a8w8", samples=1)
    manifest = api.compile(tmp_path / "m.onnx", f"rockchip/{chip}", tmp_path / "out", options)
    layers = json.loads((tmp_path / "out/rknn/npu-0/layers.json").read_text())
    assert {layer["type"] for layer in layers if layer["kind"].startswith("Conv")} == {"INT8"}
    [compiled] = [stage for stage in manifest.verification if stage.name == "compiled"]
    assert (compiled.outputs["y"].cosine or 0) > 0.999


def test_a_reader_in_float_behind_8_bits_is_computed_in_float(tmp_path):
    text = """(float[1, 8, 16, 16] x) => (float[1, 8, 16, 16] y) <float s = {0.05}, int8 z = {3}> {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
        [cut] r = Relu(d) rq = QuantizeLinear(r, s, z) rd = DequantizeLinear(rq, s, z)
        [product] m = MatMul(rd, rd) [shares] y = Softmax(m) }"""
    save(model_from(text), tmp_path / "region.onnx")
    (tmp_path / "out").mkdir()
    target = load_target("rockchip/rk3588")
    region = RknnDelegate().compile(tmp_path / "region.onnx", tmp_path / "out", target, limits=LIMITS)
    assert {node.name for node in region.nodes if node.on_npu} >= {"cut", "product", "shares"}
    sample = {"x": np.random.default_rng(0).normal(size=(1, 8, 16, 16)).astype(np.float32)}
    [made] = RknnDelegate().run(region, [sample], target, limits=LIMITS)
    [compared] = compare_runs([Session(tmp_path / "region.onnx").run(sample)], [made]).values()
    assert compared.sqnr_db >= 50


def test_an_addition_of_an_input_in_float_is_the_npus_beside_8_bits(tmp_path):
    text = """(float[1, 1, 64] x, float[1, 1, 64] r) => (float[1, 1, 64] y) <float s = {0.05}, int8 z = {3}> {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
        [cut] c = Relu(d) cq = QuantizeLinear(c, s, z) cd = DequantizeLinear(cq, s, z)
        [sum] a = Add(r, cd) [shares] y = Softmax(a) }"""
    save(model_from(text), tmp_path / "region.onnx")
    (tmp_path / "out").mkdir()
    target = load_target("rockchip/rk3588")
    region = RknnDelegate().compile(tmp_path / "region.onnx", tmp_path / "out", target, limits=LIMITS)
    assert {node.name for node in region.nodes if node.on_npu} >= {"cut", "sum", "shares"}


def test_a_product_without_bias_and_an_addition_behind_it_do_not_crash_the_toolkit(tmp_path):
    """RKNN-Toolkit2 2.5.0 ends in a segmentation fault on it as it comes."""
    numbers = ", ".join(str(37 * place % 251 - 125) for place in range(64 * 64))
    scales, zeros = (", ".join([number] * 64) for number in ("0.002", "0"))
    text = f"""(float[1, 64] x, float[1, 1, 64] r) => (float[1, 1, 64] y) <float s = {{0.05}}, int8 z = {{3}},
        float[64] ws = {{{scales}}}, int8[64] wz = {{{zeros}}}, int8[64, 64] w = {{{numbers}}},
        int64[3] to = {{1, 1, 64}}> {{
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) v = DequantizeLinear<axis = 1>(w, ws, wz)
        [product] g = Gemm(d, v) gq = QuantizeLinear(g, s, z) gd = DequantizeLinear(gq, s, z)
        h = Reshape(gd, to) hq = QuantizeLinear(h, s, z) hd = DequantizeLinear(hq, s, z)
        rq = QuantizeLinear(r, s, z) rd = DequantizeLinear(rq, s, z)
        [sum] a = Add(rd, hd) aq = QuantizeLinear(a, s, z) y = DequantizeLinear(aq, s, z) }}"""
    save(model_from(text), tmp_path / "region.onnx")
    (tmp_path / "out").mkdir()
    target = load_target("rockchip/rk3588")
    region = RknnDelegate().compile(tmp_path / "region.onnx", tmp_path / "out", target, limits=LIMITS)
    assert {node.name for node in region.nodes if node.on_npu} >= {"product", "sum"}


def test_what_the_toolkit_refuses_is_one_sentence(tmp_path):
    text = "(float[n, 4, 8, 8] x) => (float[n, 4, 8, 8] y) { [positive] y = Relu(x) }"
    save(model_from(text), tmp_path / "region.onnx")
    (tmp_path / "out").mkdir()
    with pytest.raises(VendorToolError, match=r"RKNN-Toolkit2 refused it: .*is not support"):
        RknnDelegate().compile(
            tmp_path / "region.onnx", tmp_path / "out", load_target("rockchip/rk3562"), limits=LIMITS
        )
