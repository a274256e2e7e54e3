import numpy as np
import pytest

from npuopt.passes.fuse.fuse_scalar_scale import FuseScalarScale
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = "<float eight = {8}, float[2, 2] w = {8, 16, 24, 32}, float[2] b = {80, 8}"
SIGNATURE = f"(float[N, 2] x, float[2, M] k) => (float[N, M] y) {CONSTANTS}"
BEFORE = f"{SIGNATURE}> {{p = MatMul(x, w) q = Add(p, b) a = MatMul(q, k) y = Div(a, eight)}}"


def test_goes_up_to_the_weights_and_the_bias():
    after = f"""{SIGNATURE}, float[2, 2] w2 = {{1, 2, 3, 4}}, float[2] b2 = {{10, 1}}> {{
        p = MatMul(x, w2) q = Add(p, b2) y = MatMul(q, k)
    }}"""
    assert_rewrites(FuseScalarScale(), BEFORE, after)


def test_a_rotation_takes_it_in_its_sines_and_cosines():
    signature = """(float[N, 4] x, float[4, M] k) => (float[N, M] y) <float half = {0.5}, float[4] c = {2, 4, 6, 8},
        float[4] s = {8, 6, 4, 2}, int64[1] z = {0}, int64[1] t = {2}, int64[1] e = {4}, int64[1] one = {1}"""
    rotate = "a = Slice(q, z, t, one) b = Slice(q, t, e, one) n = Neg(b) r = Concat<axis = 1>(n, a)"
    before = f"""{signature}> {{q = Tanh(x) l = Mul(q, c) {rotate} m = Mul(r, s) d = Add(l, m) p = MatMul(d, k)
        y = Mul(p, half)}}"""
    after = f"""{signature}, float[4] c2 = {{1, 2, 3, 4}}, float[4] s2 = {{4, 3, 2, 1}}> {{
        q = Tanh(x) l = Mul(q, c2) {rotate} m = Mul(r, s2) d = Add(l, m) y = MatMul(d, k)}}"""
    assert_rewrites(FuseScalarScale(), before, after)


@pytest.mark.parametrize(
    "op",
    [
        "p = Conv(x, w, b) a = Transpose<perm = [0, 2, 1]>(p)",
        "p = Conv(x, w, b) a = ReduceMean(p)",
        "p = RMSNormalization(x, l) a = Neg(p)",
        "p = LayerNormalization(x, l, m) a = Sub(p, m)",
    ],
)
def test_linear_ops_on_the_way(op):
    text = f"""(float[1, 2, 3] x) => (float[A, B, C] y)
        <float[2, 2, 1] w = {{1, 2, 3, 4}}, float[2] b = {{1, 2}}, float[3] l = {{1, 2, 3}}, float[3] m = {{3, 2, 1}},
         float[1] third = {{0.3333333}}> {{{op} y = Mul(third, a)}}"""
    assert_rewrites(FuseScalarScale(), text, None)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("q = Add(p, b)", "r = Add(p, b) q = Relu(r)"), "ends at Relu, which is not linear"),
        (BEFORE.replace("M] y", "M] y, float[N, 2] q"), "'q' is read elsewhere or is a graph output"),
        (
            BEFORE.replace("y = Div", "z = Neg(p) y = Div").replace("M] y", "M] y, float[N, 2] z"),
            "'p' is read elsewhere",
        ),
        (BEFORE.replace("MatMul(q, k)", "Add(q, q)").replace("N, M]", "N, 2]"), "'q' is read elsewhere"),
        (BEFORE.replace("MatMul(q, k)", "Add(q, x)").replace("N, M]", "N, 2]"), "ends at 'x'"),
        (BEFORE.replace("MatMul(q, k)", "Exp(q)").replace("N, M]", "N, 2]"), "ends at Exp, which is not linear"),
        (BEFORE.replace("eight = {8}", "eight = {0}"), "factor is 0"),
        (BEFORE.replace("float eight", "float[1, 1, 1] eight").replace("[N, M] y", "[1, N, M] y"), "raises the rank"),
        (BEFORE.replace("M] k", "M] k, float eight").replace("float eight = {8}, ", ""), None),
        (BEFORE.replace("Div(a, eight)", "Div(eight, a)"), None),
        (BEFORE.replace("float eight = {8}", "float[2] eight = {8, 8}").replace("M]", "2]"), None),
    ],
)
def test_leaves_what_has_no_constants_above(text, because):
    assert_leaves(FuseScalarScale(), text, because=because)


def test_a_large_constant_with_other_readers_is_not_copied():
    weights = ", ".join(["1"] * 5000)
    text = f"""(float[N, 50] x) => (float[N, 100] y, float[N, 100] z)
        <float half = {{0.5}}, float[50, 100] w = {{{weights}}}> {{
        p = MatMul(x, w) z = MatMul(x, w) y = Mul(p, half)
    }}"""
    assert_leaves(FuseScalarScale(), text, because="'w' has other readers")


@pytest.mark.parametrize(
    ("weight", "factor", "because"),
    [
        ("1e30", "1e18", "would become 1e+48"),
        ("1e-30", "1e-10", "would become 1e-40"),
        ("1e30", "1e-30", "far from 1"),
        ("2", "1e30", "far from 1"),
    ],
)
def test_leaves_what_would_leave_the_range_of_its_type(weight, factor, because):
    constants = f"<float[2] w = {{{weight}, 0}}, float c = {{{factor}}}>"
    text = f"(float[2] x) => (float[2] y) {constants} {{p = Mul(x, w) y = Mul(p, c)}}"
    assert_leaves(FuseScalarScale(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(6)
        value = around.op("MatMul", around.input(3, 4), around.constant(generator.normal(size=(4, 4)).astype("f")))
        for _ in range(around.choose(1, 2, 3)):
            op = around.choose("Add", "Sub", "Neg", "Identity", "Relu", "twice")
            if op in ("Neg", "Identity", "Relu"):
                value = around.op(op, value)
            elif op == "twice":
                value = around.op("Add", value, value)
            else:
                value = around.op(op, value, around.constant(np.array(generator.normal(), "f")))
        around.op(around.choose("Mul", "Div"), value, around.constant(np.array(around.choose(0.3, -2.0), "f")))

    check_surroundings(FuseScalarScale(), build, examples=100, least_hits=0.05)
