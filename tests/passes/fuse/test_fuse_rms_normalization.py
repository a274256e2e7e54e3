import numpy as np
import pytest

from npuopt.passes.fuse.fuse_rms_normalization import FuseRmsNormalization
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = """<int64[1] axes = {-1}, float epsilon = {0.00001}, float two = {2}, float one = {1}, float power = {-0.5},
    float[4] scale = {1, 2, 3, 4}>"""
SIGNATURE = f"(float[N, 3, 4] x) => (float[N, 3, 4] y) {CONSTANTS}"
SQUARE = "p = Pow(x, two) v = ReduceMean(p, axes) e = Add(v, epsilon)"
BEFORE = f"{SIGNATURE} {{{SQUARE} d = Sqrt(e) r = Div(one, d) n = Mul(x, r) y = Mul(n, scale)}}"
AFTER = f"{SIGNATURE} {{y = RMSNormalization<axis = -1, epsilon = 0.00001>(x, scale)}}"


@pytest.mark.parametrize(
    "formula",
    [
        f"{SQUARE} d = Sqrt(e) r = Div(one, d) n = Mul(x, r) y = Mul(n, scale)",
        f"{SQUARE} d = Sqrt(e) r = Reciprocal(d) n = Mul(r, x) y = Mul(scale, n)",
        "p = Mul(x, x) v = ReduceMean(p, axes) e = Add(epsilon, v) d = Sqrt(e) n = Div(x, d) y = Mul(n, scale)",
        f"{SQUARE} r = Pow(e, power) n = Mul(x, r) y = Mul(n, scale)",
        f"{SQUARE} d = Sqrt(e) r = Reciprocal(d) f = Mul(scale, r) y = Mul(x, f)",
    ],
)
def test_the_usual_spellings(formula):
    assert_rewrites(FuseRmsNormalization(), f"{SIGNATURE} {{{formula}}}", AFTER)


def test_without_a_scale_it_is_one():
    before = f"{SIGNATURE} {{{SQUARE} d = Sqrt(e) y = Div(x, d)}}"
    after = f"""{SIGNATURE[:-1]}, float[4] ones = {{1, 1, 1, 1}}>
        {{y = RMSNormalization<axis = -1, epsilon = 0.00001>(x, ones)}}"""
    assert_rewrites(FuseRmsNormalization(), before, after)


def test_half_precision_computed_in_float_is_one_op():
    half = "(float16[N, 4] x) => (float16[N, 4] y) " + CONSTANTS.replace(
        "float[4] scale = {1, 2, 3, 4}", "float16[4] s = {15360, 0, 16384, 15360}"
    )
    before = f"""{half} {{w = Cast<to = 1>(x) p = Mul(w, w) v = ReduceMean(p, axes) e = Add(v, epsilon) d = Sqrt(e)
        f = Div(w, d) n = Cast<to = 10>(f) y = Mul(s, n)}}"""
    after = f"{half} {{y = RMSNormalization<axis = -1, epsilon = 0.00001>(x, s)}}"
    assert_rewrites(FuseRmsNormalization(), before, after)


def test_a_scale_in_float_keeps_the_casts():
    half = f"(float16[N, 4] x) => (float16[N, 4] y) {CONSTANTS}"
    before = f"""{half} {{w = Cast<to = 1>(x) p = Mul(w, w) v = ReduceMean(p, axes) e = Add(v, epsilon) d = Sqrt(e)
        n = Div(w, d) t = Mul(n, scale) y = Cast<to = 10>(t)}}"""
    after = f"""{half} {{w = Cast<to = 1>(x) t = RMSNormalization<axis = -1, epsilon = 0.00001>(w, scale)
        y = Cast<to = 10>(t)}}"""
    assert_rewrites(FuseRmsNormalization(), before, after)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("axes = {-1}", "axes = {-2}"), "axes [1] of 3, which are not the last"),
        (BEFORE.replace("float epsilon = {0.00001}", "float[4] epsilon = {1, 2, 3, 4}"), "not a single number"),
        (
            BEFORE.replace("[N, 3, 4] y", "[1, N, 3, 4] y").replace("float epsilon", "float[1, 1, 1, 1] epsilon"),
            "not a single number",
        ),
        (BEFORE.replace("3, 4] x", "3, 4] x, float one").replace("float one = {1}, ", ""), None),
        (BEFORE.replace("4] y", "4] y, float[N, 3, 1] r"), "'r' is a graph output"),
        (
            BEFORE.replace("y = Mul", "z = Neg(v) y = Mul").replace("4] y", "4] y, float[N, 3, 1] z"),
            "'v' is read elsewhere",
        ),
        (BEFORE.replace("[N, 3, 4]", "[N, 3, K]"), "'x' is not known"),
        (BEFORE.replace("Pow(x, two)", "Pow(x, one)"), None),
        (
            BEFORE.replace("n = Mul(x, r) y = Mul(n, scale)", "f = Mul(r, scale) y = Mul(x, f)").replace(
                "float[4] scale = {1, 2, 3, 4}", "float[3, 1] scale = {1, 2, 3}"
            ),
            "does not run along the normalized axes",
        ),
    ],
)
def test_leaves_what_is_no_rms_normalization(text, because):
    assert_leaves(FuseRmsNormalization(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 4))
        axes = around.constant(np.array(around.choose([-1], [2], [1, 2], [1])), varies=False)
        epsilon = around.constant(np.array(0.1, "f").reshape(around.choose((), (1,), (1, 1, 1))))
        square = around.op("ReduceMean", around.op("Mul", x, x, company=False), axes)
        root = around.op("Sqrt", around.op("Add", square, epsilon, company=False), company=False)
        normal = around.op("Div", x, root)
        shape = around.choose((4,), (1, 4), (3, 4), (3, 1), (), (2, 3, 4))
        around.op("Mul", normal, around.constant(np.random.default_rng(1).normal(size=shape).astype("f")))

    check_surroundings(FuseRmsNormalization(), build, examples=100, least_hits=0.2)
