import numpy as np

from npuopt.passes.lower.lower_trigonometric_functions import LowerTrigonometricFunctions
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes


def test_acos_becomes_the_complement_of_asin():
    assert_rewrites(
        LowerTrigonometricFunctions(),
        "(float[9] x) => (float[9] y) {y = Acos(x)}",
        "(float[9] x) => (float[9] y) <float quarter = {1.5707963268}> {a = Asin(x) y = Sub(quarter, a)}",
        feeds={"x": np.linspace(-1, 1, 9, dtype="f")},
    )


def test_tan_becomes_sine_over_cosine():
    assert_rewrites(
        LowerTrigonometricFunctions(),
        "(float[9] x) => (float[9] y) {y = Tan(x)}",
        "(float[9] x) => (float[9] y) {a = Sin(x) b = Cos(x) y = Div(a, b)}",
        feeds={"x": np.linspace(-1.5, 1.5, 9, dtype="f")},
    )


def test_leaves_what_the_target_takes():
    text = "(float[9] x) => (float[9] y) {y = Tan(x)}"
    assert_leaves(LowerTrigonometricFunctions(), text, because=None, target=takes("Tan"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op(around.choose("Tan", "Acos"), around.op("Tanh", around.input(2, 3)))

    check_surroundings(LowerTrigonometricFunctions(), build, least_hits=0.9)
