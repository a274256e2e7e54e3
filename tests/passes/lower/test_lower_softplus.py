import numpy as np

from npuopt.passes.lower.lower_softplus import LowerSoftplus
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[6] x) => (float[6] y) {y = Softplus(x)}"


def test_becomes_exp_and_log():
    assert_rewrites(
        LowerSoftplus(),
        BEFORE,
        """(float[6] x) => (float[6] y) <float one = {1}> {
            r = Relu(x) a = Abs(x) b = Neg(a) c = Exp(b) d = Add(c, one) e = Log(d) y = Add(r, e)
        }""",
    )


def test_does_not_overflow():
    x = np.array([1000, -1000, 80, -80, 0, 1e-4], "f")
    assert_rewrites(LowerSoftplus(), BEFORE, None, feeds={"x": x}, seeds=[0])


def test_leaves_what_the_target_takes():
    assert_leaves(LowerSoftplus(), BEFORE, because=None, target=takes("Softplus"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Softplus", around.op("Neg", around.input(2, 3)))

    check_surroundings(LowerSoftplus(), build, least_hits=0.9)
