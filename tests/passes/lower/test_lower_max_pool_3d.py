import pytest

from npuopt.passes.lower.lower_max_pool_3d import LowerMaxPool3d
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[1, 2, 3, 4, 4] x) => (float[1, 2, 2, 3, 2] y) {y = MaxPool<kernel_shape = [2, 2, 3]>(x)}"


def test_becomes_two_pools():
    after = """(float[1, 2, 3, 4, 4] x) => (float[1, 2, 2, 3, 2] y)
        <int64[4] a = {1, 6, 4, 4}, int64[4] b = {1, 2, 3, 6}, int64[5] c = {1, 2, 2, 3, 2}> {
        p = Reshape(x, a) q = MaxPool<kernel_shape = [2, 3]>(p) r = Reshape(q, b) s = MaxPool<kernel_shape = [2, 1]>(r)
        y = Reshape(s, c)
    }"""
    assert_rewrites(LowerMaxPool3d(), BEFORE, after)


@pytest.mark.parametrize("attributes", ["dilations = [2, 1, 2]", 'auto_pad = "SAME_LOWER", strides = [2, 2, 1]'])
def test_dilations_and_automatic_padding(attributes):
    text = f"""(float[2, 2, 5, 6, 5] x) => (float[2, 2, D, H, W] y) {{
        y = MaxPool<kernel_shape = [2, 3, 2], {attributes}>(x)
    }}"""
    assert_rewrites(LowerMaxPool3d(), text, None, tolerance=0)


def test_leaves_other_ranks_and_dynamic_shapes():
    image = "(float[1, 2, 4, 4] x) => (float[1, 2, 3, 3] y) {y = MaxPool<kernel_shape = [2, 2]>(x)}"
    assert_leaves(LowerMaxPool3d(), image, because=None)
    assert_leaves(LowerMaxPool3d(), BEFORE.replace("[1, 2, 3, 4, 4]", "[N, 2, 3, 4, 4]"), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 2, 5, 4, 6))
        pads = around.choose([0, 0, 0, 0, 0, 0], [1, 0, 1, 0, 1, 1])
        strides, ceiling = around.choose([1, 1, 1], [2, 1, 2]), around.choose(0, 1)
        around.op("MaxPool", x, kernel_shape=[2, 3, 2], pads=pads, strides=strides, ceil_mode=ceiling)

    check_surroundings(LowerMaxPool3d(), build, examples=15, least_hits=0.6, tolerance=0)
