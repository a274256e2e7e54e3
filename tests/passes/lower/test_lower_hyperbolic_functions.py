import numpy as np
import pytest

from npuopt.passes.lower.lower_hyperbolic_functions import LowerHyperbolicFunctions
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

TEXT = "(float[9] x) => (float[9] y) {y = %s(x)}"


def test_sinh_becomes_a_difference_of_exponentials():
    assert_rewrites(
        LowerHyperbolicFunctions(),
        TEXT % "Sinh",
        """(float[9] x) => (float[9] y) <float half = {0.5}> {
            a = Exp(x) b = Neg(x) c = Exp(b) d = Sub(a, c) y = Mul(d, half)
        }""",
    )


@pytest.mark.parametrize(
    ("op", "low", "high"),
    [("Sinh", -9, 9), ("Cosh", -9, 9), ("Asinh", -1e4, 1e4), ("Acosh", 1, 1e4), ("Atanh", -0.999, 0.999)],
)
def test_numbers_over_the_domain(op, low, high):
    x = np.linspace(low, high, 9, dtype="f")
    assert_rewrites(LowerHyperbolicFunctions(), TEXT % op, None, feeds={"x": x}, seeds=[0])


def test_leaves_what_the_target_takes():
    assert_leaves(LowerHyperbolicFunctions(), TEXT % "Sinh", because=None, target=takes("Sinh"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op(around.choose("Sinh", "Cosh", "Asinh"), around.op("Neg", around.input(2, 3)))

    check_surroundings(LowerHyperbolicFunctions(), build, least_hits=0.9)
