import numpy as np

from npuopt.passes.lower.lower_normalization_axis import LowerNormalizationAxis
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[5, 2, 2] x) => (float[5, 2, 2] y) <float[2, 2] s = {1, 2, 3, 4}"
BEFORE = f"{SIGNATURE}> {{y = LayerNormalization<axis = 1, epsilon = 0.01>(x, s)}}"


def test_the_axes_become_one():
    after = f"""{SIGNATURE}, int64[2] flat = {{5, 4}}, float[4] t = {{1, 2, 3, 4}}, int64[3] whole = {{5, 2, 2}}> {{
        a = Reshape(x, flat) b = LayerNormalization<axis = -1, epsilon = 0.01>(a, t) y = Reshape(b, whole)
    }}"""
    assert_rewrites(LowerNormalizationAxis(), BEFORE, after)


def test_a_scale_of_run_time_and_the_other_norm():
    text = "(float[2, 3, 4] x, float[3, 4] s) => (float[2, 3, 4] y) {y = RMSNormalization<axis = -2>(x, s)}"
    assert_rewrites(LowerNormalizationAxis(), text, None)


def test_leaves_the_last_axis_and_other_scales():
    assert_leaves(LowerNormalizationAxis(), BEFORE.replace("axis = 1", "axis = 2"), because=None)
    other = BEFORE.replace("float[2, 2] s = {1, 2, 3, 4}", "float[2] s = {1, 2}")
    assert_leaves(LowerNormalizationAxis(), other, because="not of the shape [2, 2]")
    assert_leaves(LowerNormalizationAxis(), BEFORE.replace("5, 2, 2", "N, 2, 2"), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        axis, generator = around.choose(1, -1, -2), np.random.default_rng(0)
        x = around.op("Neg", around.input(2, 3, 4))
        shape = (2, 3, 4)[axis:]
        scale, bias = (around.constant(generator.normal(size=shape).astype("f")) for _ in range(2))
        around.op("LayerNormalization", x, scale, bias, axis=axis)

    check_surroundings(LowerNormalizationAxis(), build, least_hits=0.4)
