import numpy as np

from npuopt.passes.lower.lower_elu import LowerElu
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[4] x) => (float[4] y) {y = Elu<alpha = 2.0>(x)}"


def test_elu_becomes_an_exponential_below_zero():
    assert_rewrites(
        LowerElu(),
        BEFORE,
        """(float[4] x) => (float[4] y) <float zero = {0}, float one = {1}, float two = {2}> {
            r = Relu(x) m = Min(x, zero) e = Exp(m) f = Sub(e, one) g = Mul(f, two) y = Add(r, g)
        }""",
    )


def test_selu_is_elu_times_gamma():
    report = assert_rewrites(LowerElu(), "(float[4] x) => (float[4] y) {y = Selu(x)}", None)
    assert report.changed[0].text.count("Mul") == 2


def test_does_not_overflow():
    assert_rewrites(LowerElu(), BEFORE, None, feeds={"x": np.array([1e4, -1e4, 0, -1e-6], "f")}, seeds=[0])


def test_leaves_what_the_target_takes():
    assert_leaves(LowerElu(), BEFORE, because=None, target=takes("Elu"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op(around.choose("Elu", "Selu"), around.op("Neg", around.input(2, 3)), alpha=around.choose(1.0, 0.3))

    check_surroundings(LowerElu(), build, least_hits=0.9)
