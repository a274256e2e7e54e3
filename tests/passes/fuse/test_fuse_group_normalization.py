import numpy as np
import pytest

from npuopt.passes.fuse.fuse_group_normalization import FuseGroupNormalization
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = """int64[3] groups = {0, 2, -1}, float[2] ones = {1, 1}, float[2] zeros = {0, 0},
    float[4, 1, 1] scale = {1, 2, 3, 4}, float[4, 1, 1] bias = {4, 3, 2, 1}"""
SIGNATURE = f"(float[N, 4, H, W] x) => (float[N, 4, H, W] y) <{CONSTANTS}"
BEFORE = f"""{SIGNATURE}> {{g = Reshape(x, groups) n = InstanceNormalization<epsilon = 0.01>(g, ones, zeros)
    s = Shape(x) r = Reshape(n, s) m = Mul(r, scale) y = Add(m, bias)}}"""
OWN = "float[4] one = {1, 1, 1, 1}, float[4] none = {0, 0, 0, 0}"


def test_as_torch_exports_it():
    after = f"""{SIGNATURE}, float[4] a = {{1, 2, 3, 4}}, float[4] b = {{4, 3, 2, 1}}>
        {{y = GroupNormalization<num_groups = 2, epsilon = 0.01>(x, a, b)}}"""
    assert_rewrites(FuseGroupNormalization(), BEFORE, after)


def test_a_layer_normalization_of_static_groups():
    signature = SIGNATURE.replace("H, W", "3, 2").replace("ones = {1, 1}", "others = {1, 1}")
    signature = f"{signature}, float[12] ones = {{{', '.join(['1'] * 12)}}}, int64[4] back = {{-1, 4, 3, 2}}"
    formula = "g = Reshape(x, groups) n = LayerNormalization(g, ones) r = Reshape(n, back) y = Mul(r, scale)"
    before = f"{signature}> {{{formula}}}"
    signature = f"{signature}, float[4] own = {{1, 2, 3, 4}}, float[4] none = {{0, 0, 0, 0}}"
    after = f"{signature}> {{y = GroupNormalization<num_groups = 2, epsilon = 0.00001>(x, own, none)}}"
    assert_rewrites(FuseGroupNormalization(), before.replace("[N,", "[2,"), after.replace("[N,", "[2,"))


def test_scales_that_are_not_the_channels_stay_behind():
    before = BEFORE.replace("scale)", "row)").replace("float[2] ones", "float[2] row = {1, 2}, float[2] ones")
    after = f"""{SIGNATURE.replace("float[2] ones", "float[2] row = {1, 2}, float[2] ones")}, {OWN}>
        {{n = GroupNormalization<num_groups = 2, epsilon = 0.01>(x, one, none) m = Mul(n, row) y = Add(m, bias)}}"""
    assert_rewrites(FuseGroupNormalization(), before.replace("W]", "2]"), after.replace("W]", "2]"))


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("W] y)", "W] y, float[N, 2, K] n)"), "read elsewhere or is a graph output"),
        (BEFORE.replace("ones = {1, 1}", "ones = {1, 2}"), "groups have a scale or a bias"),
        (BEFORE.replace("zeros = {0, 0}", "zeros = {0, 2}"), "groups have a scale or a bias"),
        (BEFORE.replace("N, 4, H, W] x", "N, C, H, W] x"), "do not part C channels"),
        (BEFORE.replace("groups = {0, 2, -1}", "groups = {-1, 2, 3}"), "may change the batch"),
        (BEFORE.replace("W] x)", "W] x, int64[4] s)").replace("s = Shape(x)", ""), "may not bring back the shape"),
    ],
)
def test_leaves_other_normalizations(text, because):
    assert_leaves(FuseGroupNormalization(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 4, 3, 2))
        groups = around.choose(1, 2, 4)
        lonely = around.choose("groups", "normal", "nothing", "nothing")
        flat = around.constant(np.array(around.choose([0, groups, -1], [2, groups, -1], [4, groups, -1])), varies=False)
        flat = around.op("Reshape", x, flat, company=lonely == "groups")
        ones = around.constant(np.full(groups, around.choose(1, 1, 2), "f"))
        normal = around.op("InstanceNormalization", flat, ones, around.constant(np.zeros(groups, "f"), varies=False))
        back = around.constant(np.array([2, 4, 3, 2]), varies=False)
        result = around.op("Reshape", normal, back, company=lonely == "normal")
        scale = np.random.default_rng(0).normal(size=around.choose((4, 1, 1), (2,), (), (1, 4, 1, 1))).astype("f")
        around.op("Mul", result, around.constant(scale))

    check_surroundings(FuseGroupNormalization(), build, examples=60, least_hits=0.1)
