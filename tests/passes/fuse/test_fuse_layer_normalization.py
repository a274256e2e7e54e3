import numpy as np
import pytest

from npuopt.passes.fuse.fuse_layer_normalization import FuseLayerNormalization
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = """<int64[1] axes = {-1}, float epsilon = {0.00001}, float two = {2}, float one = {1}, float power = {-0.5},
    float[4] scale = {1, 2, 3, 4}, float[4] bias = {4, 3, 2, 1}>"""
SIGNATURE = f"(float[N, 3, 4] x) => (float[N, 3, 4] y) {CONSTANTS}"
CENTER = "m = ReduceMean(x, axes) c = Sub(x, m)"
SQUARE = "p = Pow(c, two) v = ReduceMean(p, axes) e = Add(v, epsilon)"
SCALE = "t = Mul(n, scale) y = Add(t, bias)"
BEFORE = f"{SIGNATURE} {{{CENTER} {SQUARE} d = Sqrt(e) n = Div(c, d) {SCALE}}}"
AFTER = f"{SIGNATURE} {{y = LayerNormalization<axis = -1, epsilon = 0.00001>(x, scale, bias)}}"


@pytest.mark.parametrize(
    "formula",
    [
        f"{CENTER} {SQUARE} d = Sqrt(e) n = Div(c, d) {SCALE}",
        (
            f"{CENTER} p = Mul(c, c) v = ReduceMean(p, axes) e = Add(epsilon, v) d = Sqrt(e) r = Reciprocal(d) "
            f"n = Mul(r, c) t = Mul(scale, n) y = Add(bias, t)"
        ),
        f"{CENTER} {SQUARE} d = Sqrt(e) r = Div(one, d) n = Mul(c, r) {SCALE}",
        f"{CENTER} {SQUARE} r = Pow(e, power) n = Mul(c, r) {SCALE}",
        (
            f"{CENTER} m2 = ReduceMean(x, axes) c2 = Sub(x, m2) {SQUARE.replace('(c', '(c2')} d = Sqrt(e) "
            f"n = Div(c, d) {SCALE}"
        ),
    ],
)
def test_the_usual_spellings(formula):
    assert_rewrites(FuseLayerNormalization(), f"{SIGNATURE} {{{formula}}}", AFTER)


def test_the_variance_as_a_difference_of_means():
    formula = f"""{CENTER} s = Mul(x, x) q = ReduceMean(s, axes) r = Mul(m, m) v = Sub(q, r) e = Add(v, epsilon)
        d = Sqrt(e) n = Div(c, d) {SCALE}"""
    assert_rewrites(FuseLayerNormalization(), f"{SIGNATURE} {{{formula}}}", AFTER)


MOVED = f"""{CENTER} p = Mul(c, c) v = ReduceMean(p, axes) e = Add(v, epsilon) d = Sqrt(e) r = Reciprocal(d)
    f = Mul(r, scale) a = Mul(x, f) b = Mul(m, f) o = Sub(bias, b) y = Add(a, o)"""


def test_as_tensorflow_writes_it():
    assert_rewrites(FuseLayerNormalization(), f"{SIGNATURE} {{{MOVED}}}", AFTER)
    along_rows = f"{SIGNATURE} {{{MOVED}}}".replace("float[4] scale = {1, 2, 3, 4}", "float[3, 1] scale = {1, 2, 3}")
    assert_leaves(FuseLayerNormalization(), along_rows, because="does not run along the normalized axes")
    seen = f"{SIGNATURE} {{{MOVED}}}".replace("4] y)", "4] y, float[N, 3, 4] b)")
    assert_leaves(FuseLayerNormalization(), seen, because="'b' is a graph output")


JAX = f"""{CENTER} s = Mul(x, x) q = ReduceMean(s, axes) w = Mul(m, m) v = Sub(q, w) u = Max(zero, v)
    e = Add(u, epsilon) d = Sqrt(e) r = Reciprocal(d) f = Mul(r, scale) t = Mul(c, f) y = Add(t, bias)"""


def test_as_jax_writes_it():
    text = f"{SIGNATURE} {{{JAX}}}".replace("float two = {2}", "float zero = {0}")
    after = AFTER.replace("float two = {2}", "float zero = {0}")
    assert_rewrites(FuseLayerNormalization(), text, after)
    assert_rewrites(FuseLayerNormalization(), text.replace("Add(t, bias)", "Neg(t)"), None)
    seen = text.replace("4] y)", "4] y, float[N, 3, 4] c)")
    assert_leaves(FuseLayerNormalization(), seen, because="'c' is a graph output")
    along_rows = text.replace("float[4] scale = {1, 2, 3, 4}", "float[3, 1] scale = {1, 2, 3}")
    assert_leaves(FuseLayerNormalization(), along_rows, because="does not run along")


def test_without_scale_and_bias_the_scale_is_one():
    before = f"{SIGNATURE} {{{CENTER} {SQUARE} d = Sqrt(e) y = Div(c, d)}}"
    after = f"""{SIGNATURE[:-1]}, float[4] ones = {{1, 1, 1, 1}}>
        {{y = LayerNormalization<axis = -1, epsilon = 0.00001>(x, ones)}}"""
    assert_rewrites(FuseLayerNormalization(), before, after)


def test_a_scale_given_at_run_time_stays_behind():
    before = BEFORE.replace("4] x", "4] x, float[4] scale").replace("float[4] scale = {1, 2, 3, 4}, ", "")
    report = assert_rewrites(FuseLayerNormalization(), before, None)
    assert "last 1 axes" in report.changed[0].text


def test_a_scale_along_another_axis_stays_behind():
    before = BEFORE.replace("float[4] scale = {1, 2, 3, 4}", "float[3, 1] scale = {1, 2, 3}")
    after = before[: before.index("> {") + 1].replace(
        "float[3, 1] scale", "float[4] ones = {1, 1, 1, 1}, float[3, 1] scale"
    )
    after += """ {n = LayerNormalization<axis = -1, epsilon = 0.00001>(x, ones) t = Mul(n, scale) y = Add(t, bias)}"""
    assert_rewrites(FuseLayerNormalization(), before, after)


def test_several_axes_and_a_scale_to_be_broadcast():
    before = BEFORE.replace("int64[1] axes = {-1}", "int64[2] axes = {2, -2}")
    after = f"""{before[: before.index("> {")]}, float[3, 4] s = {{1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4}},
        float[3, 4] b = {{4, 3, 2, 1, 4, 3, 2, 1, 4, 3, 2, 1}}>
        {{y = LayerNormalization<axis = -2, epsilon = 0.00001>(x, s, b)}}"""
    assert_rewrites(FuseLayerNormalization(), before, after)


def test_half_precision_computed_in_float_is_one_op():
    half = "(float16[N, 4] x) => (float16[N, 4] y) " + CONSTANTS.replace(
        "float[4] scale = {1, 2, 3, 4}", "float16[4] s = {15360, 0, 16384, 15360}"
    )
    before = f"""{half} {{w = Cast<to = 1>(x) {CENTER.replace("(x,", "(w,")} {SQUARE} d = Sqrt(e)
        f = Div(c, d) n = Cast<to = 10>(f) y = Mul(n, s)}}"""
    after = f"{half} {{y = LayerNormalization<axis = -1, epsilon = 0.00001>(x, s)}}"
    assert_rewrites(FuseLayerNormalization(), before, after)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("axes = {-1}", "axes = {1}"), "axes [1] of 3, which are not the last"),
        (
            BEFORE.replace("<int64[1] axes = {-1}", "<int64[1] axes = {-1}, int64[2] both = {1, 2}").replace(
                "ReduceMean(x, axes)", "ReduceMean(x, both)"
            ),
            "different axes, [1, 2] and [2]",
        ),
        (BEFORE.replace("float epsilon = {0.00001}", "float[4] epsilon = {1, 2, 3, 4}"), "not a single number"),
        (BEFORE.replace("4] x", "4] x, float epsilon").replace("float epsilon = {0.00001}, ", ""), None),
        (
            BEFORE.replace("3, 4] x", "3, 4] x, int64[1] axes").replace("int64[1] axes = {-1}, ", ""),
            "axes of a mean are not constant",
        ),
        (BEFORE.replace("4] y", "4] y, float[N, 3, 1] m"), "'m' is a graph output"),
        (
            BEFORE.replace("n = Div", "z = Neg(d) n = Div").replace("4] y", "4] y, float[N, 3, 1] z"),
            "'d' is read elsewhere",
        ),
        (BEFORE.replace("[N, 3, 4]", "[N, 3, K]"), "'x' is not known"),
        (BEFORE.replace("Sub(x, m)", "Sub(m, x)"), None),
    ],
)
def test_leaves_what_is_no_layer_normalization(text, because):
    assert_leaves(FuseLayerNormalization(), text, because=because)


def test_a_mean_that_drops_its_axes_is_another_value():
    text = """(float[4, 4] x) => (float[4, 4] y) <int64[1] axes = {-1}, float epsilon = {0.1}> {
        m = ReduceMean<keepdims = 0>(x, axes) c = Sub(x, m) p = Mul(c, c) v = ReduceMean<keepdims = 0>(p, axes)
        e = Add(v, epsilon) d = Sqrt(e) y = Div(c, d)
    }"""
    assert_leaves(FuseLayerNormalization(), text, because="does not keep its axes")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 4))
        axes = around.constant(np.array(around.choose([-1], [2], [1, 2])), varies=False)
        epsilon = around.constant(np.array(0.1, "f"))
        centered = around.op("Sub", x, around.op("ReduceMean", x, axes, company=around.choose(True, False)))
        variance = around.op("ReduceMean", around.op("Mul", centered, centered, company=False), axes)
        deviation = around.op("Sqrt", around.op("Add", variance, epsilon, company=False), company=False)
        normal = around.op("Div", centered, deviation)
        shape = around.choose((4,), (1, 4), (3, 4), (3, 1), (), (2, 3, 4))
        scale, bias = (around.constant(np.random.default_rng(i).normal(size=shape).astype("f")) for i in range(2))
        around.op("Add", around.op("Mul", normal, scale), bias)

    check_surroundings(FuseLayerNormalization(), build, examples=100, least_hits=0.1)
