import numpy as np

from npuopt.passes.lower.lower_blocked_dequantize_linear import LowerBlockedDequantizeLinear
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = """(int8[4, 2] x) => (float[4, 2] y) <float[2, 2] s = {1, 2, 3, 4}, int8[2, 2] z = {5, 6, 7, 8}"""
BEFORE = f"{SIGNATURE}> {{y = DequantizeLinear<axis = 0, block_size = 2>(x, s, z)}}"


def test_a_block_is_an_axis_of_its_own():
    after = f"""{SIGNATURE}, int64[3] parts = {{2, 2, 2}}, int64[3] each = {{2, 1, 2}}, int64[2] whole = {{4, 2}}> {{
        c = Cast<to = 1>(x) v = Reshape(c, parts) d = Cast<to = 1>(z) w = Reshape(d, each) u = Sub(v, w)
        t = Reshape(s, each) m = Mul(u, t) y = Reshape(m, whole)
    }}"""
    assert_rewrites(LowerBlockedDequantizeLinear(), BEFORE, after)


def test_no_zero_point_and_an_axis_from_the_end():
    text = f"{SIGNATURE}> {{y = DequantizeLinear<axis = -2, block_size = 2>(x, s)}}"
    assert_rewrites(LowerBlockedDequantizeLinear(), text, None)


def test_leaves_whole_axes_and_broken_blocks():
    axis = BEFORE.replace(", block_size = 2", "").replace("[2, 2] s = {1, 2, 3, 4}", "[4] s = {1, 2, 3, 4}")
    axis = axis.replace("[2, 2] z = {5, 6, 7, 8}", "[4] z = {5, 6, 7, 8}")
    assert_leaves(LowerBlockedDequantizeLinear(), axis, because=None)
    broken = BEFORE.replace("[4, 2]", "[3, 2]")
    assert_leaves(LowerBlockedDequantizeLinear(), broken, because="no whole number of blocks")
    assert_leaves(LowerBlockedDequantizeLinear(), BEFORE.replace("[4, 2]", "[N, 2]"), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(0)
        x = around.input(6, 4, dtype="int8")
        scale = around.constant(generator.normal(size=(2, 4)).astype("f"))
        zero = [around.constant(generator.integers(-9, 9, (2, 4)).astype("int8"))] if around.choose(True, False) else []
        around.op("DequantizeLinear", x, scale, *zero, axis=0, block_size=3)

    check_surroundings(LowerBlockedDequantizeLinear(), build, least_hits=0.9)
