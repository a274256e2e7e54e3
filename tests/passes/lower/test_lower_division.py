import numpy as np

from npuopt.passes.lower.lower_division import LowerDivision
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[N, 4] a, float[4] b) => (float[N, 4] y) {y = Div(a, b)}"


def test_becomes_a_product():
    after = """(float[N, 4] a, float[4] b) => (float[N, 4] y) {r = Reciprocal(b) y = Mul(a, r)}"""
    assert_rewrites(LowerDivision(), BEFORE, after)


def test_a_constant_is_inverted_at_once():
    before = "(float[N, 4] a) => (float[N, 4] y) <float[4] b = {0.5, 4, -2, 0}> {y = Div(a, b)}"
    report = assert_rewrites(LowerDivision(), before, None)
    assert report.changed[0].text == "became Mul"


def test_zeros_and_infinities():
    a, b = [1, -1, 0, np.inf, np.inf, 1, -0.0], [0, -0.0, 0, np.inf, 2, np.inf, 3]
    text = "(float[7] a, float[7] b) => (float[7] y) {y = Div(a, b)}"
    assert_rewrites(LowerDivision(), text, None, feeds={"a": np.array(a, "f"), "b": np.array(b, "f")}, seeds=[0])


def test_leaves_integers():
    text = "(int32[4] a, int32[4] b) => (int32[4] y) {y = Div(a, b)}"
    assert_leaves(LowerDivision(), text, because="no reciprocals")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        divisor = around.constant(np.array([0.5, -2.0, 3.0], "f"))
        around.op("Div", around.op("Neg", around.input(2, 3)), divisor)

    check_surroundings(LowerDivision(), build, examples=12, least_hits=0.9)
