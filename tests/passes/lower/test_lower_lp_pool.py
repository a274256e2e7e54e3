import pytest

from npuopt.passes.lower.lower_lp_pool import LowerLpPool
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[1, 2, 4, 4] x) => (float[1, 2, 3, 3] y) {y = LpPool<kernel_shape = [2, 2]>(x)}"


def test_becomes_the_root_of_a_mean():
    after = """(float[1, 2, 4, 4] x) => (float[1, 2, 3, 3] y) <float k = {4}> {
        s = Mul(x, x) m = AveragePool<kernel_shape = [2, 2]>(s) t = Mul(m, k) y = Sqrt(t)
    }"""
    assert_rewrites(LowerLpPool(), BEFORE, after)


@pytest.mark.parametrize(
    "attributes", ["p = 1, pads = [1, 1, 0, 1]", 'auto_pad = "SAME_UPPER"', "p = 3, dilations = [2, 1]"]
)
def test_powers_and_padding(attributes):
    text = f"""(float[1, 2, 6, 7] x) => (float[1, 2, H, W] y) {{y = LpPool<kernel_shape = [3, 2], {attributes}>(x)}}"""
    assert_rewrites(LowerLpPool(), text, None)


def test_leaves_ceilings_and_dynamic_shapes():
    assert_leaves(LowerLpPool(), BEFORE.replace("LpPool<", "LpPool<ceil_mode = 1, "), because="ceil_mode is set")
    assert_leaves(LowerLpPool(), BEFORE.replace("[1, 2, 4, 4]", "[N, 2, 4, 4]"), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 2, 6, 5))
        pads = around.choose([0, 0, 0, 0], [1, 0, 1, 1])
        around.op(
            "LpPool", x, kernel_shape=[3, 2], p=around.choose(1, 2, 3), pads=pads, strides=around.choose([1, 1], [2, 3])
        )

    check_surroundings(LowerLpPool(), build, examples=15, least_hits=0.9)
