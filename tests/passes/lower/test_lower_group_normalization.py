import numpy as np
import pytest

from npuopt.passes.lower.lower_group_normalization import LowerGroupNormalization
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[2, 4, 3, 3] x, float[4] s, float[4] b) => (float[2, 4, 3, 3] y)"
PARTS = """
    r = Reshape(x, grouped) m = ReduceMean<keepdims = 1>(r, axis) c = Sub(r, m) q = Mul(c, c)
    v = ReduceMean<keepdims = 1>(q, axis) e = Add(v, epsilon) d = Sqrt(e) n = Div(c, d) o = Reshape(n, whole)
    sr = Reshape(s, channel) t = Mul(o, sr) br = Reshape(b, channel) y = Add(t, br)"""


@pytest.mark.parametrize(("op", "groups"), [("GroupNormalization<num_groups = 2>", 2), ("InstanceNormalization", 4)])
def test_becomes_means_over_groups(op, groups):
    constants = f"""<int64[3] grouped = {{2, {groups}, -1}}, int64[1] axis = {{2}}, float epsilon = {{0.00001}},
        int64[4] whole = {{2, 4, 3, 3}}, int64[3] channel = {{4, 1, 1}}, int64[3] channel2 = {{4, 1, 1}}>"""
    after = f"{SIGNATURE} {constants} {{{PARTS}}}".replace(", int64[3] channel2 = {4, 1, 1}", "")
    assert_rewrites(LowerGroupNormalization(), f"{SIGNATURE} {{y = {op}(x, s, b)}}", after)


def test_leaves_a_shape_that_is_not_static():
    text = f"{SIGNATURE} {{y = InstanceNormalization(x, s, b)}}".replace("[2, 4, 3, 3]", "[N, 4, 3, 3]")
    assert_leaves(LowerGroupNormalization(), text, because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(1)
        scale, bias = (around.constant(generator.normal(size=4).astype("f")) for _ in range(2))
        x = around.op("Neg", around.input(2, 4, *around.choose((5,), (3, 2))))
        if around.choose(True, False):
            around.op("InstanceNormalization", x, scale, bias)
            return
        # ONNX infers no shape for GroupNormalization, and a graph output must have one.
        y = around.op("GroupNormalization", x, scale, bias, num_groups=around.choose(1, 2, 4), company=False)
        around.op("Reshape", y, around.constant(np.array([8, -1]), varies=False))

    check_surroundings(LowerGroupNormalization(), build, least_hits=0.9)
