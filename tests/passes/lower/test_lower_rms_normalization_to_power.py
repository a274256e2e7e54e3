import numpy as np

from npuopt.passes.lower.lower_rms_normalization_to_power import LowerRmsNormalizationToPower
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[N, 4, 8] x, float[8] s) => (float[N, 4, 8] y)"


def test_becomes_a_mean_a_power_and_products():
    assert_rewrites(
        LowerRmsNormalizationToPower(),
        f"{SIGNATURE} {{y = RMSNormalization<epsilon = 0.001>(x, s)}}",
        f"""{SIGNATURE} <int64[1] axes = {{2}}, float epsilon = {{0.001}}, float half = {{-0.5}}> {{
            q = Mul(x, x) v = ReduceMean<keepdims = 1>(q, axes)
            e = Add(v, epsilon) f = Pow(e, half) n = Mul(x, f) y = Mul(n, s)
        }}""",
    )


def test_several_axes():
    text = "(float[2, 3, 4] x, float[3, 4] s) => (float[2, 3, 4] y) {y = RMSNormalization<axis = -2>(x, s)}"
    assert_rewrites(LowerRmsNormalizationToPower(), text, None)


def test_leaves_half_precision():
    text = "(float16[2, 8] x, float16[8] s) => (float16[2, 8] y) {y = RMSNormalization(x, s)}"
    assert_leaves(LowerRmsNormalizationToPower(), text, because="half precision")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        axis = around.choose(-1, 1, -2)
        scale = around.constant(np.random.default_rng(0).normal(size=(4,) if axis == -1 else (3, 4)).astype("f"))
        x = around.op("Neg", around.input(2, 3, 4))
        around.op("RMSNormalization", x, scale, axis=axis, epsilon=around.choose(1e-5, 0.1))

    check_surroundings(LowerRmsNormalizationToPower(), build, least_hits=0.9)
