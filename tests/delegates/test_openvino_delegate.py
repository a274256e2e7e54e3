"""The Intel road with OpenVINO itself: what it converts to, what stays 8-bit, and its CPU device's numbers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from npuopt.delegates.contract import Limits
from npuopt.delegates.openvino.delegate import OpenVinoDelegate
from npuopt.errors import InputError, VendorToolError
from npuopt.graph.execution import Session
from npuopt.target import load_target
from npuopt.toolchain.location import toolchains_folder
from npuopt.verify import compare_runs
from support.toolchains import needs_toolchain

pytestmark = pytest.mark.toolchain

LIMITS = Limits(seconds=120, memory_mib=4096)
FLOAT = """
    <ir_version: 10, opset_import: ["" : 24]> net (float[1,4,8,8] x) => (float[1,4,8,8] y)
    { [norm] n = LayerNormalization <axis = -1> (x, scale)  [act] a = Gelu (n)  [add] y = Add (a, x) }
"""
WEIGHT_ONLY = """
    <ir_version: 10, opset_import: ["" : 24]> net (float[2,64] x) => (float[2,32] y)
    <int8 zero = {0}> { [held] w = DequantizeLinear <axis = 1> (q, scale, zero_point)  [product] y = MatMul (x, w) }
"""
QUANTIZED = """
    <ir_version: 10, opset_import: ["" : 24]> net (float[2,64] x) => (float[2,32] y)
    <float s = {0.03}, uint8 z = {128}, float t = {0.2}>
    {
        [x_q] xq = QuantizeLinear (x, s, z)  [x_dq] xd = DequantizeLinear (xq, s, z)
        [held] w = DequantizeLinear <axis = 1> (q, scale, zero_point)
        [product] p = MatMul (xd, w)
        [p_q] pq = QuantizeLinear (p, t, z)  [p_dq] y = DequantizeLinear (pq, t, z)
    }
"""


def with_constants(text: str, **arrays: np.ndarray) -> onnx.ModelProto:
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    return model


def integer_weight() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "q": random.integers(-127, 128, (64, 32)).astype(np.int8),
        "scale": random.uniform(0.001, 0.003, 32).astype(np.float32),
        "zero_point": np.zeros(32, np.int8),
    }


@pytest.fixture(scope="module", autouse=True)
def toolchain():
    needs_toolchain("openvino")


@pytest.fixture
def compiled(tmp_path):
    def compile_it(model: onnx.ModelProto):
        path, folder = tmp_path / "model.onnx", tmp_path / "region"
        onnx.save(model, path)
        folder.mkdir()
        target = load_target("intel/npu4000")
        region = OpenVinoDelegate().compile(path, folder, target, limits=LIMITS)

        def compare(sample):
            made = OpenVinoDelegate().run(region, [sample], target, limits=LIMITS)[0]
            return compare_runs([Session(path, threads=1).run(sample)], [made])["y"].sqnr_db

        return region, compare

    return compile_it


def test_float_numbers_are_onnx_runtimes(compiled):
    region, compare = compiled(with_constants(FLOAT, scale=np.linspace(0.5, 1.5, 8, dtype=np.float32)))
    assert compare({"x": np.random.default_rng(1).normal(size=(1, 4, 8, 8)).astype(np.float32)}) >= 100
    assert all(node.on_npu for node in region.nodes)
    assert region.figures["npu_operations"]["Gelu"] == 1
    assert region.figures["licence"] == "openvino: Apache-2.0"


def test_symmetric_8_bit_weights_stay_8_bit_without_zero_points(compiled):
    region, compare = compiled(with_constants(WEIGHT_ONLY, **integer_weight()))
    assert region.figures["constant_bytes"]["i8"] == 64 * 32, "one byte a weight, and no zero points beside them"
    assert "Subtract" not in region.figures["npu_operations"]
    assert compare({"x": np.random.default_rng(1).normal(size=(2, 64)).astype(np.float32)}) >= 100


def test_quantized_numbers_are_onnx_runtimes_within_a_step(compiled):
    region, compare = compiled(with_constants(QUANTIZED, **integer_weight()))
    assert region.figures["npu_operations"]["FakeQuantize"] == 2
    assert region.figures["constant_bytes"]["i8"] == 64 * 32
    assert compare({"x": np.random.default_rng(1).normal(size=(2, 64)).astype(np.float32)}) >= 35


def test_what_the_front_end_does_not_convert_is_one_error(compiled, tmp_path, monkeypatch):
    monkeypatch.setenv("NPUOPT_TOOLCHAINS", str(toolchains_folder()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # where logs of failed runs go
    text = '<ir_version: 10, opset_import: ["" : 24, "odd" : 1]> g (float[4] x) => (float[4] y) { y = odd.Op (x) }'
    with pytest.raises(VendorToolError, match="OpenVINO refused it"):
        compiled(onnx.parser.parse_model(text))


def test_a_sample_that_does_not_fit_is_named(compiled):
    region, _ = compiled(with_constants(WEIGHT_ONLY, **integer_weight()))
    with pytest.raises(InputError, match="input 'x': has shape"):
        OpenVinoDelegate().run(
            region, [{"x": np.zeros((3, 64), np.float32)}], load_target("host/x86-64"), limits=LIMITS
        )
