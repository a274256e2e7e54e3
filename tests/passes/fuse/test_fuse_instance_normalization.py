import numpy as np
import pytest

from npuopt.passes.fuse.fuse_instance_normalization import FuseInstanceNormalization
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = """int64[2] axes = {2, -1}, float epsilon = {0.01}, float two = {2}, float[3, 1, 1] scale = {1, 2, 3},
    float[1, 3, 1, 1] bias = {4, 3, 2}"""
SIGNATURE = f"(float[N, 3, H, W] x) => (float[N, 3, H, W] y) <{CONSTANTS}"
NORMAL = """m = ReduceMean(x, axes) c = Sub(x, m) p = Pow(c, two) v = ReduceMean(p, axes) e = Add(v, epsilon)
    d = Sqrt(e) n = Div(c, d)"""
BEFORE = f"{SIGNATURE}> {{{NORMAL} s = Mul(n, scale) y = Add(s, bias)}}"


def test_over_all_spatial_axes():
    after = f"""{SIGNATURE}, float[3] a = {{1, 2, 3}}, float[3] b = {{4, 3, 2}}>
        {{y = InstanceNormalization<epsilon = 0.01>(x, a, b)}}"""
    assert_rewrites(FuseInstanceNormalization(), BEFORE, after)


def test_without_scale_and_bias():
    before = f"{SIGNATURE}> {{{NORMAL.replace('n =', 'y =')}}}"
    after = f"""{SIGNATURE}, float[3] a = {{1, 1, 1}}, float[3] b = {{0, 0, 0}}>
        {{y = InstanceNormalization<epsilon = 0.01>(x, a, b)}}"""
    assert_rewrites(FuseInstanceNormalization(), before, after)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("W] y)", "W] y, float[N, 3, 1, 1] v)"), "'v' is a graph output"),
        (BEFORE.replace("N, 3, H, W] x", "N, C, H, W] x"), "number of channels of 'x' is not known"),
        (BEFORE.replace("axes = {2, -1}", "axes = {1, 2}"), None),
        (BEFORE.replace("int64[2] axes = {2, -1}", "int64[1] axes = {-1}"), None),
        (BEFORE.replace("float epsilon = {0.01}", "float[3, 1, 1] epsilon = {0.01, 0.02, 0.03}"),
         "not a single number"),
    ],
)  # fmt: skip
def test_leaves_other_normalizations(text, because):
    assert_leaves(FuseInstanceNormalization(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 2, 3))
        axes = around.constant(np.array(around.choose([2, 3], [-1, -2], [1, 2, 3], [3])), varies=False)
        lonely = around.choose(True, False, False)
        centered = around.op("Sub", x, around.op("ReduceMean", x, axes, company=False), company=lonely)
        spread = around.op("ReduceMean", around.op("Mul", centered, centered, company=False), axes, company=False)
        spread = around.op("Add", spread, around.constant(np.array(0.1, "f")), company=False)
        normal = around.op("Div", centered, around.op("Sqrt", spread, company=lonely))
        shape = around.choose((3, 1, 1), (3,), (), (2, 3), (1, 3, 1, 1))
        around.op("Mul", normal, around.constant(np.random.default_rng(1).normal(size=shape).astype("f")))

    check_surroundings(FuseInstanceNormalization(), build, examples=60, least_hits=0.15)
