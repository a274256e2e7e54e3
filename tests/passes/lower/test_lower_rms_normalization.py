import numpy as np

from npuopt.passes.lower.lower_rms_normalization import LowerRmsNormalization
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

SIGNATURE = "(float[N, 4, 8] x, float[8] s) => (float[N, 4, 8] y)"
BEFORE = f"{SIGNATURE} {{y = RMSNormalization<epsilon = 0.001>(x, s)}}"


def test_becomes_a_mean_of_squares():
    assert_rewrites(
        LowerRmsNormalization(),
        BEFORE,
        f"""{SIGNATURE} <int64[1] axes = {{2}}, float epsilon = {{0.001}}> {{
            q = Mul(x, x) v = ReduceMean<keepdims = 1>(q, axes) e = Add(v, epsilon) d = Sqrt(e)
            n = Div(x, d) y = Mul(n, s)
        }}""",
    )


def test_half_precision_does_not_overflow():
    text = "(float16[2, 8] x, float16[8] s) => (float16[2, 8] y) {y = RMSNormalization(x, s)}"
    report = assert_rewrites(LowerRmsNormalization(), text, None, ranges={"x": (1000.0, 1.0)})
    assert report.changed[0].text.count("Cast") == 2


def test_leaves_what_the_target_takes():
    assert_leaves(LowerRmsNormalization(), BEFORE, because=None, target=takes("RMSNormalization"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        axis = around.choose(-1, 1, -2)
        scale = np.random.default_rng(0).normal(size=(4,) if axis == -1 else (3, 4)).astype("f")
        x = around.op("Neg", around.input(2, 3, 4))
        around.op("RMSNormalization", x, around.constant(scale), axis=axis, epsilon=around.choose(1e-5, 0.1))

    check_surroundings(LowerRmsNormalization(), build, least_hits=0.9)
