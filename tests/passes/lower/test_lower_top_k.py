import numpy as np

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


def test_leaves_more_than_one():
    two = BEFORE.replace("k = {1}", "k = {2}").replace("N, 1]", "N, 2]")
    assert_leaves(LowerTopK(), two, because="it asks for 2")
    runtime = "(float[N, 4] x, int64[1] k) => (float[N, A] y, int64[N, A] i) {y, i = TopK(x, k)}"
    assert_leaves(LowerTopK(), runtime, because="not known to ask for one")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(3, 4))
        around.ops(
            "TopK",
            x,
            around.constant(np.array([1]), varies=False),
            outputs=2,
            axis=around.choose(0, -1),
            largest=around.choose(0, 1),
        )

    check_surroundings(LowerTopK(), build, least_hits=0.9, tolerance=0)
