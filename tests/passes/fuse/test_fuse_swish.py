import numpy as np
import pytest

from npuopt.passes.fuse.fuse_swish import FuseSwish
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[N, 4] x) => (float[N, 4] y)"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("s = Sigmoid(x) y = Mul(s, x)", "y = Swish(x)"),
        ("a = Mul(two, x) s = Sigmoid(a) y = Mul(x, s)", "y = Swish<alpha = 2.0>(x)"),
        ("a = Mul(one, x) s = Sigmoid(a) y = Mul(x, s)", "y = Swish(x)"),
        ("a = Neg(x) e = Exp(a) d = Add(e, one) y = Div(x, d)", "y = Swish(x)"),
    ],
)
def test_a_value_times_its_sigmoid(before, after):
    constants = "<float two = {2}, float[1] one = {1}>"
    assert_rewrites(FuseSwish(), f"{SIGNATURE} {constants} {{{before}}}", f"{SIGNATURE} {constants} {{{after}}}")


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("(float[N] x, float[N] z) => (float[N] y) {s = Sigmoid(z) y = Mul(x, s)}", None),
        ("(float[N] x) => (float[N] y, float[N] s) {s = Sigmoid(x) y = Mul(x, s)}", "'s' is a graph output"),
        (
            "(float[N] x) => (float[N] y, float[N] z) {s = Sigmoid(x) y = Mul(x, s) z = Neg(s)}",
            "'s' is read elsewhere",
        ),
        (
            "(float[N, 2] x) => (float[N, 2] y) <float[2] a = {1, 2}> {b = Mul(x, a) s = Sigmoid(b) y = Mul(x, s)}",
            "not a single number",
        ),
        ("(float[N] x, float a) => (float[N] y) {b = Mul(x, a) s = Sigmoid(b) y = Mul(x, s)}", None),
        (
            "(float[N] x) => (float[1, N] y) <float[1, 1] a = {2}> {b = Mul(x, a) s = Sigmoid(b) y = Mul(x, s)}",
            "raises the rank",
        ),
    ],
)
def test_leaves_other_products(text, because):
    assert_leaves(FuseSwish(), text, because=because)


def test_a_sigmoid_captured_by_a_subgraph_stays():
    text = """(float[2] x, bool c) => (float[2] y, float[2] z) {
        s = Sigmoid(x) y = Mul(x, s)
        z = If(c) <then_branch = t () => (float[2] p) {p = Neg(s)}, else_branch = e () => (float[2] q) {q = Abs(s)}>
    }"""
    assert_leaves(FuseSwish(), text, because="'s' is read elsewhere")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3))
        inner = x
        if around.choose(True, False):
            alpha = np.full(around.choose((), (1,), (1, 1, 1)), around.choose(1.0, -0.5), dtype="f")
            inner = around.op("Mul", around.constant(alpha), x)
        around.op("Mul", x, around.op("Sigmoid", inner))

    check_surroundings(FuseSwish(), build, examples=60, least_hits=0.15)
