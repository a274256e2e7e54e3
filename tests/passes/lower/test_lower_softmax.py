import numpy as np

from npuopt.passes.lower.lower_softmax import LowerSoftmax
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[2, 4] x) => (float[2, 4] y) {y = Softmax<axis = 1>(x)}"


def test_becomes_exponentials_and_their_sum():
    after = """(float[2, 4] x) => (float[2, 4] y) <int64[1] axis = {1}> {
        m = ReduceMax<keepdims = 1>(x, axis) d = Sub(x, m) e = Exp(d) s = ReduceSum<keepdims = 1>(e, axis) y = Div(e, s)
    }"""
    assert_rewrites(LowerSoftmax(), BEFORE, after)


def test_large_numbers_and_masks():
    x = np.array([[1e30, 0, -1e30, 5], [-np.inf, 1, 2, 3]], np.float32)
    assert_rewrites(LowerSoftmax(), BEFORE, None, feeds={"x": x}, seeds=[0])


def test_leaves_dynamic_shapes():
    assert_leaves(LowerSoftmax(), BEFORE.replace("[2, 4]", "[N, 4]"), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Softmax", around.op("Neg", around.input(2, 3, 4)), axis=around.choose(0, 1, -1))

    check_surroundings(LowerSoftmax(), build, examples=12, least_hits=0.9)
