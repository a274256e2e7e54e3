import numpy as np
import pytest

from npuopt.passes.lower.lower_top_k import LowerTopK
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[N, 4] x) => (float[N, 1] y, int64[N, 1] i) <int64[1] k = {1}> {y, i = TopK(x, k)}"


def test_becomes_the_extreme_and_its_position():
    after = """(float[N, 4] x) => (float[N, 1] y, int64[N, 1] i) <int64[1] k = {1}, int64[1] axis = {-1}> {
        y = ReduceMax<keepdims = 1>(x, axis) i = ArgMax<axis = -1, keepdims = 1>(x)
    }"""
    assert_rewrites(LowerTopK(), BEFORE, after)


def test_the_first_of_equals():
    feeds = {"x": np.array([[1, 3, 3, 2], [-1, -1, -2, -1]], "f")}
    assert_rewrites(LowerTopK(), BEFORE, None, feeds=feeds, seeds=[0], tolerance=0)
    assert_rewrites(LowerTopK(), BEFORE.replace("TopK(", "TopK<largest = 0>("), None, feeds=feeds, seeds=[0])


SEVERAL = "(TYPE[2, 5] x) => (TYPE[2, 3] y, int64[2, 3] i) <int64[1] k = {3}> {y, i = TopK<axis = 1>(x, k)}"


@pytest.mark.parametrize("largest", ["", "largest = 0, "])
def test_several_are_taken_one_after_the_other_equals_in_their_order(largest):
    text = SEVERAL.replace("axis", f"{largest}axis")
    worst = np.inf if largest else -np.inf
    for numbers in ([[1, 3, 3, 2, 3], [0, 0, 0, 0, 0]], [[worst, 4, worst, worst, worst], [1, -0.0, 0, -1, 2]]):
        feeds = {"x": np.array(numbers, "f")}
        assert_rewrites(LowerTopK(), text.replace("TYPE", "float"), None, feeds=feeds, seeds=[0], tolerance=0)
    bounds = np.iinfo(np.int32)
    feeds = {"x": np.array([[bounds.min, 4, bounds.min, bounds.max, bounds.max], [bounds.max] * 5], "int32")}
    assert_rewrites(LowerTopK(), text.replace("TYPE", "int32"), None, feeds=feeds, seeds=[0], tolerance=0)
    feeds = {"x": -feeds["x"].clip(-7, 7)}
    assert_rewrites(LowerTopK(), text.replace("TYPE", "int32"), None, feeds=feeds, seeds=[0], tolerance=0)


def test_two_are_spelled_out():
    text = "(float[N, 4] x) => (float[N, 2] y, int64[N, 2] i) <int64[1] k = {2}> {y, i = TopK(x, k)}"
    after = """(float[N, 4] x) => (float[N, 2] y, int64[N, 2] i)
        <int64[1] k = {2}, int64[1] axis = {1}, int64[1, 4] places = {0, 1, 2, 3}, int64 last = {3},
         float lowest = {-inf}> {
        a = ReduceMax<keepdims = 1>(x, axis) b = Equal(x, a) c = Where(b, places, last)
        d = ReduceMin<keepdims = 1>(c, axis) e = Equal(places, d)
        f = Where(e, lowest, x) g = ReduceMax<keepdims = 1>(f, axis) h = Equal(x, g) n = Not(e) m = And(h, n)
        o = Where(m, places, last) p = ReduceMin<keepdims = 1>(o, axis)
        y = Concat<axis = 1>(a, g) i = Concat<axis = 1>(d, p)
    }"""
    assert_rewrites(LowerTopK(), text, after)


def test_leaves_more_than_a_few_and_lengths_that_are_not_known():
    assert_leaves(LowerTopK(most=1), SEVERAL.replace("TYPE", "float"), because="it asks for 3")
    assert_leaves(LowerTopK(), SEVERAL.replace("TYPE", "float").replace("2, 5]", "2, L]"), because="length of axis 1")
    runtime = "(float[N, 4] x, int64[1] k) => (float[N, A] y, int64[N, A] i) {y, i = TopK(x, k)}"
    assert_leaves(LowerTopK(), runtime, because="not known how many")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(3, 4))
        around.ops(
            "TopK",
            x,
            around.constant(np.array([around.choose(1, 2, 3)]), varies=False),
            outputs=2,
            axis=around.choose(0, -1),
            largest=around.choose(0, 1),
        )

    check_surroundings(LowerTopK(), build, least_hits=0.9, tolerance=0)
