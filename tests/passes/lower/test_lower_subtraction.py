import numpy as np

from npuopt.passes.lower.lower_subtraction import LowerSubtraction
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[N, 4] a, float[4] b) => (float[N, 4] y) {y = Sub(a, b)}"


def test_becomes_a_sum():
    after = """(float[N, 4] a, float[4] b) => (float[N, 4] y) {n = Neg(b) y = Add(a, n)}"""
    assert_rewrites(LowerSubtraction(), BEFORE, after)


def test_a_constant_is_negated_at_once():
    before = "(int32[N, 2] a) => (int32[N, 2] y) <int32[2] b = {1, -2}> {y = Sub(a, b)}"
    after = before.replace("> {", ", int32[2] c = {-1, 2}> {").replace("Sub(a, b)", "Add(a, c)")
    assert_rewrites(LowerSubtraction(), before, after)


def test_leaves_unsigned_integers():
    text = "(uint8[4] a, uint8[4] b) => (uint8[4] y) {y = Sub(a, b)}"
    assert_leaves(LowerSubtraction(), text, because="no negative numbers")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        other = around.constant(np.array([0.0, -2.0, -0.0], "f"))
        around.op("Sub", around.op("Neg", around.input(2, 3)), other)

    check_surroundings(LowerSubtraction(), build, examples=12, least_hits=0.9, tolerance=0)
