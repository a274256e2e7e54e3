import numpy as np

from npuopt.passes.lower.lower_sigmoid import LowerSigmoid
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = Sigmoid(x)}"


def test_becomes_a_reciprocal():
    after = """(float[N, 4] x) => (float[N, 4] y) <float one = {1}> {
        n = Neg(x) e = Exp(n) s = Add(e, one) y = Reciprocal(s)
    }"""
    assert_rewrites(LowerSigmoid(), BEFORE, after)


def test_far_from_zero():
    x = np.array([[-np.inf, np.inf, -200, 200]], np.float32)
    assert_rewrites(LowerSigmoid(), BEFORE, None, feeds={"x": x}, seeds=[0])


def test_leaves_what_the_target_takes():
    assert_leaves(LowerSigmoid(), BEFORE, because=None, target=takes("Sigmoid"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Sigmoid", around.op("Neg", around.input(2, 3)))

    check_surroundings(LowerSigmoid(), build, examples=12, least_hits=0.9)
