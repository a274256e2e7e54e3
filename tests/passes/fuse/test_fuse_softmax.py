import numpy as np
import pytest

from npuopt.passes.fuse.fuse_softmax import FuseSoftmax
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = "<int64[1] axes = {-1}, int64[1] same = {2}, int64[3] kept = {2, 3, 1}>"
SIGNATURE = f"(float[2, 3, 4] x) => (float[2, 3, 4] y) {CONSTANTS}"
AFTER = f"{SIGNATURE} {{y = Softmax<axis = 2>(x)}}"
PLAIN = "m = ReduceMax(x, axes) d = Sub(x, m) e = Exp(d) t = ReduceSum(e, same) y = Div(e, t)"
RESHAPED = "n = ReduceMax<keepdims = 0>(x, axes) m = Reshape(n, kept) d = Sub(x, m) e = Exp(d)"
SPECIAL = np.array([[[0, 1, 2, 3], [88, 89, 1e30, -1e30], [-np.inf, 0, 1, 2]]] * 2, "f")
NOWHERE = np.array([[[np.inf, 1, 2, 3], [np.nan, 0, 1, 2], [-np.inf] * 4]] * 2, "f")


@pytest.mark.parametrize(
    "formula",
    [
        PLAIN,
        PLAIN.replace("y = Div(e, t)", "r = Reciprocal(t) y = Mul(r, e)"),
        f"{RESHAPED} s = ReduceSum<keepdims = 0>(e, same) t = Unsqueeze(s, axes) y = Div(e, t)",
    ],
)
def test_the_usual_spellings(formula):
    assert_rewrites(FuseSoftmax(), f"{SIGNATURE} {{{formula}}}", AFTER)
    for numbers in (SPECIAL, NOWHERE):
        assert_rewrites(FuseSoftmax(), f"{SIGNATURE} {{{formula}}}", AFTER, feeds={"x": numbers})


@pytest.mark.parametrize(
    ("formula", "because"),
    [
        (PLAIN.replace("ReduceSum(e, same)", "ReduceSum(e, other)"), "along axis 2 and its sum along axis 1"),
        (PLAIN.replace("ReduceMax(x, axes)", "ReduceMax(x, both)"), "not along one axis"),
        (PLAIN.replace("Sub(x, m)", "Neg(x)"), None),
        (PLAIN.replace("ReduceMax", "ReduceMin"), None),
        (PLAIN.replace("Div(e, t)", "Div(t, e)"), None),
        (f"{RESHAPED.replace('kept', 'flat')} t = ReduceSum(e, same) y = Div(e, t)", "of another shape"),
    ],
)  # fmt: skip
def test_leaves_what_is_no_softmax(formula, because):
    more = ", int64[1] other = {1}, int64[2] both = {1, 2}, int64[3] flat = {1, 3, 3}>"
    text = f"(float[3, 3, 3] x) => (float[3, 3, 3] y) {CONSTANTS.replace('>', more)} {{{formula}}}"
    assert_leaves(FuseSoftmax(), text, because=because)


def test_leaves_exponentials_that_are_read_elsewhere():
    text = f"{SIGNATURE.replace('4] y)', '4] y, float[2, 3, 4] e)')} {{{PLAIN}}}"
    assert_leaves(FuseSoftmax(), text, because="'e' is a graph output")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 2))
        axes = around.constant(np.array(around.choose([1], [-1], [0], [0, 1])), varies=False)
        lonely = around.choose(True, False, False)
        peak = around.op("ReduceMax", x, axes, keepdims=1, company=lonely)
        powers = around.op("Exp", around.op("Sub", x, peak, company=lonely), company=lonely)
        around.op("Div", powers, around.op("ReduceSum", powers, axes, keepdims=1, company=lonely))

    check_surroundings(FuseSoftmax(), build, examples=60, least_hits=0.15)
