import numpy as np

from npuopt.passes.lower.lower_quantized_operators import LowerQuantizedOperators
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = """(uint8[1, 1, 3] x) => (uint8[1, 2, 3] y)
    <float xs = {0.5}, uint8 xz = {3}, int8[2, 1, 1] w = {2, -3}, float[2] ws = {0.25, 0.5}, int8[2] wz = {0, 0},
     float ys = {0.125}, uint8 yz = {105}, int32[2] b = {4, 5}"""


def test_a_convolution_in_floats_with_its_bias():
    assert_rewrites(
        LowerQuantizedOperators(),
        f"{SIGNATURE}> {{y = QLinearConv(x, xs, xz, w, ws, wz, ys, yz, b)}}",
        f"""{SIGNATURE}, float[2] bs = {{0.125, 0.25}}> {{
            p = DequantizeLinear(x, xs, xz) q = DequantizeLinear<axis = 0>(w, ws, wz)
            r = DequantizeLinear<axis = 0>(b, bs) c = Conv(p, q, r) y = QuantizeLinear(c, ys, yz)
        }}""",
    )


def test_a_product_with_scales_given_at_run_time():
    text = """(uint8[2, 3] a, uint8[3, 4] b, float s) => (uint8[2, 4] y) <float half = {0.5}, uint8 two = {2}> {
        y = QLinearMatMul(a, half, two, b, half, two, s, two)
    }"""
    assert_rewrites(LowerQuantizedOperators(), text, None, ranges={"s": (2, 0.1)})


def test_leaves_a_bias_whose_scale_is_not_known():
    text = f"{SIGNATURE}> {{y = QLinearConv(x, xs, xz, w, ws, wz, ys, yz, b)}}"
    runtime = text.replace("3] x)", "3] x, float xs)").replace("float xs = {0.5}, ", "")
    assert_leaves(LowerQuantizedOperators(), runtime, because="its bias has scales that are given at run time")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(0)
        a = around.input(2, 3, dtype="uint8")
        b = around.constant(generator.integers(0, 255, (3, 4)).astype("uint8"))
        scale, zero = (around.constant(np.array(value), varies=False) for value in (np.float32(0.5), np.uint8(3)))
        around.op("QLinearMatMul", a, scale, zero, b, scale, zero, scale, zero)

    check_surroundings(LowerQuantizedOperators(), build, least_hits=0.9)
