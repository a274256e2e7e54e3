import numpy as np
import pytest

from npuopt.passes.lower.lower_one_hot import LowerOneHot
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = (
    """(int64[N] i) => (float[N, 3] y) <int64 depth = {3}, float[2] values = {0, 5}> {y = OneHot(i, depth, values)}"""
)


def test_becomes_a_selection():
    after = """(int64[N] i) => (float[N, 3] y) <int64 depth = {3}, float[2] values = {0, 5}, int64 zero = {0},
        int64 three = {3}, int64[1] axis = {1}, int64[3] positions = {0, 1, 2}, float on = {5}, float off = {0}> {
        n = Less(i, zero) s = Add(i, three) w = Where(n, s, i) u = Unsqueeze(w, axis) h = Equal(u, positions)
        y = Where(h, on, off)
    }"""
    assert_rewrites(LowerOneHot(), BEFORE, after)


def test_an_inner_axis_and_indices_outside():
    text = """(int32[2, 2] i) => (float[2, 3, 2] y) <int32[1] depth = {3}, float[2] values = {1, 7}> {
        y = OneHot<axis = 1>(i, depth, values)
    }"""
    feeds = {"i": np.array([[0, -1], [5, -3]], np.int32)}
    assert_rewrites(LowerOneHot(), text, None, feeds=feeds, seeds=[0])


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("int64[N] i", "int64[N] i, int64 depth").replace("int64 depth = {3}, ", ""), "not constant"),
        (BEFORE.replace("int64[N] i", "float[N] i"), "indices are of type FLOAT"),
    ],
)
def test_leaves_other_forms(text, because):
    assert_leaves(LowerOneHot(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        indices = around.op("Abs", around.input(2, 3, dtype="int64"))
        depth = around.constant(np.array(4), varies=False)
        values = around.constant(np.array([0.5, 2], "f"))
        around.op("OneHot", indices, depth, values, axis=around.choose(-1, 0, 1))

    check_surroundings(LowerOneHot(), build)
