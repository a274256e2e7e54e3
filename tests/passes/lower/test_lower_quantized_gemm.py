import numpy as np
import pytest

from npuopt.passes.lower.lower_quantized_gemm import LowerQuantizedGemm
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

HEADER = '<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]> g'
CONSTANTS = "float s = {0.5}, uint8 z = {100}, float t = {0.25}, int8 w = {0}, float r = {0.125}, uint8 v = {3}"


def test_a_product_with_bias_in_floats():
    signature = f"{HEADER} (uint8[2, 3] a, int8[4, 3] b) => (uint8[2, 4] y) <{CONSTANTS}, int32[4] c = {{1,-2,3,-4}}"
    assert_rewrites(
        LowerQuantizedGemm(),
        f"{signature}> {{y = com.microsoft.QGemm<transB = 1>(a, s, z, b, t, w, c, r, v)}}",
        f"""{signature}, float u = {{0.125}}> {{
            p = DequantizeLinear(a, s, z) q = DequantizeLinear<axis = 0>(b, t, w) d = DequantizeLinear(c, u)
            e = Gemm<transB = 1>(p, q, d) y = QuantizeLinear(e, r, v)
        }}""",
    )


@pytest.mark.parametrize("attributes", ["", "<alpha = 2.0>", "<transA = 1>"])
def test_a_result_that_stays_float(attributes):
    signature = f"{HEADER} (uint8[3, 3] a, int8[3, 3] b) => (float[3, 3] y) <{CONSTANTS}, int32[3] c = {{1,-2,3}}>"
    node = f"com.microsoft.QGemm{attributes}(a, s, z, b, t, w, c)"
    assert_rewrites(LowerQuantizedGemm(), f"{signature} {{y = {node}}}", None)


def test_a_scale_for_each_channel():
    signature = f"""{HEADER} (uint8[2, 3] a, int8[3, 2] b) => (float[2, 2] y)
        <float s = {{0.5}}, uint8 z = {{1}}, float[2] t = {{0.25, 2}}, int8[2] w = {{0, 0}}, int32[2] c = {{5, -6}}>"""
    assert_rewrites(LowerQuantizedGemm(), f"{signature} {{y = com.microsoft.QGemm(a, s, z, b, t, w, c)}}", None)


def test_leaves_a_scale_given_at_run_time():
    signature = f"{HEADER} (uint8[2, 3] a, int8[3, 4] b, float u) => (float[2, 4] y) <{CONSTANTS}>"
    node = "com.microsoft.QGemm(a, u, z, b, t, w)"
    assert_leaves(LowerQuantizedGemm(), f"{signature} {{y = {node}}}", because="given at run time")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        values = (np.float32(0.5), np.float32(0.37), np.uint8(7), np.int8(0))  # no result is halfway
        scale, level, zero, none = (around.constant(np.array(value), varies=False) for value in values)
        a, b = around.input(2, 3, dtype="uint8"), around.input(3, 4, dtype="int8")
        inputs = (a, scale, zero, b, scale, none, "", level, zero)
        made = around.op("QGemm", *inputs, domain="com.microsoft", company=False)
        around.op("Identity", around.declare(made, 2, 4, dtype="uint8"))

    check_surroundings(LowerQuantizedGemm(), build, least_hits=0.9)
