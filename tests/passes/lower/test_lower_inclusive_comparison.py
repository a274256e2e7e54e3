import numpy as np
import pytest

from npuopt.passes.lower.lower_inclusive_comparison import LowerInclusiveComparison
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] a, float[4] b) => (bool[N, 4] y) {y = GreaterOrEqual(a, b)}"


def test_becomes_two_comparisons():
    after = """(float[N, 4] a, float[4] b) => (bool[N, 4] y) {g = Greater(a, b) e = Equal(a, b) y = Or(g, e)}"""
    assert_rewrites(LowerInclusiveComparison(), BEFORE, after)


@pytest.mark.parametrize("op", ["GreaterOrEqual", "LessOrEqual"])
def test_nothing_compares_with_what_is_no_number(op):
    text = f"(float[6] a, float[6] b) => (bool[6] y) {{y = {op}(a, b)}}"
    a, b = [np.nan, np.nan, 1, np.inf, 0.0, -0.0], [np.nan, 1, np.nan, np.inf, -0.0, 1]
    feeds = {"a": np.array(a, "f"), "b": np.array(b, "f")}
    assert_rewrites(LowerInclusiveComparison(), text, None, feeds=feeds, seeds=[0])


def test_integers_take_one_comparison():
    before = "(int32[4] a, int32[4] b) => (bool[4] y) {y = LessOrEqual(a, b)}"
    after = before.replace("y = LessOrEqual(a, b)", "g = Greater(a, b) y = Not(g)")
    assert_rewrites(LowerInclusiveComparison(), before, after)


def test_leaves_what_the_target_takes():
    assert_leaves(LowerInclusiveComparison(), BEFORE, because=None, target=takes("GreaterOrEqual"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        kind = around.choose("float32", "int32")
        inputs = [around.op("Neg", around.input(*around.choose((2, 3), (3,)), dtype=kind)) for _ in range(2)]
        around.op(around.choose("GreaterOrEqual", "LessOrEqual"), *inputs)

    check_surroundings(LowerInclusiveComparison(), build, examples=12, least_hits=0.9)
