import numpy as np

from npuopt.passes.lower.lower_hardmax import LowerHardmax
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_becomes_a_comparison_with_argmax():
    assert_rewrites(
        LowerHardmax(),
        "(float[N, 3] x) => (float[N, 3] y) {y = Hardmax(x)}",
        """(float[N, 3] x) => (float[N, 3] y) <int64[3] positions = {0, 1, 2}> {
            first = ArgMax<axis = 1, keepdims = 1>(x) hit = Equal(first, positions) y = Cast<to = 1>(hit)
        }""",
    )


def test_the_first_of_equals_wins_along_an_inner_axis():
    x = np.array([[[1, 2], [3, 2], [3, 2]]], "f")
    text = "(float[1, 3, 2] x) => (float[1, 3, 2] y) {y = Hardmax<axis = -2>(x)}"
    assert_rewrites(LowerHardmax(), text, None, feeds={"x": x}, seeds=[0])


def test_leaves_an_axis_of_unknown_length():
    text = "(float[N, 3] x) => (float[N, 3] y) {y = Hardmax<axis = 0>(x)}"
    assert_leaves(LowerHardmax(), text, because="the length of axis 0 is not known")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Hardmax", around.op("Neg", around.input(2, 3, 4)), axis=around.choose(-1, 0, 1))

    check_surroundings(LowerHardmax(), build, least_hits=0.9)
