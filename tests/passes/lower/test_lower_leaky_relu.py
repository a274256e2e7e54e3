import numpy as np

from npuopt.passes.lower.lower_leaky_relu import LowerLeakyRelu
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = LeakyRelu<alpha = 0.5>(x)}"


def test_becomes_the_sum_of_both_parts():
    after = """(float[N, 4] x) => (float[N, 4] y) <float zero = {0}, float slope = {0.5}> {
        p = Relu(x) n = Min(x, zero) s = Mul(n, slope) y = Add(p, s)
    }"""
    assert_rewrites(LowerLeakyRelu(), BEFORE, after)


def test_infinities():
    x = np.array([[-np.inf, np.inf, 0.0, -0.0]], np.float32)
    assert_rewrites(LowerLeakyRelu(), BEFORE, None, feeds={"x": x}, seeds=[0])


def test_leaves_integers():
    text = "(int32[4] x) => (int32[4] y) <int32[1] slope = {2}> {y = PRelu(x, slope)}"
    assert_leaves(LowerLeakyRelu(), text, because="computes in INT32")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        slope = around.constant(
            np.random.default_rng(0).normal(size=around.choose((3, 1), (1,), (2, 3, 4))).astype("f")
        )
        x = around.op("Neg", around.input(2, 3, 4))
        if around.choose(True, False):
            around.op("PRelu", x, slope)
        else:
            around.op("LeakyRelu", x, alpha=around.choose(0.1, 0.0, 2.0, -1.0))

    check_surroundings(LowerLeakyRelu(), build, examples=12, least_hits=0.9)
