import numpy as np

from npuopt.passes.lower.lower_tensor_scatter import LowerTensorScatter
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[2, 4, 3] x, float[2, 1, 3] u, int64[2] i) => (float[2, 4, 3] y) {y = TensorScatter(x, u, i)}"


def test_becomes_a_selection_of_one_position():
    after = """(float[2, 4, 3] x, float[2, 1, 3] u, int64[2] i) => (float[2, 4, 3] y)
        <int64[3] s = {2, 1, 1}, int64[4, 1] places = {0, 1, 2, 3}> {
        p = Reshape(i, s) e = Equal(p, places) y = Where(e, u, x)
    }"""
    assert_rewrites(LowerTensorScatter(), BEFORE, after, feeds=AT_RUN_TIME, tolerance=0)


AT_RUN_TIME = {"i": np.array([3, 1])}


def test_known_positions_join_what_stays():
    before = """(float[2, 4, 3] x, float[2, 2, 3] u) => (float[2, 4, 3] y) <int64[2] i = {1, 1}> {
        y = TensorScatter(x, u, i)
    }"""
    report = assert_rewrites(LowerTensorScatter(), before, None, tolerance=0)
    assert report.changed[0].text == "became Slice, Slice, Concat"
    first = "(float[2, 4, 3] x, float[2, 4, 3] u) => (float[2, 4, 3] y) {y = TensorScatter(x, u)}"
    assert_rewrites(LowerTensorScatter(), first, None, tolerance=0)


def test_positions_that_go_around():
    text = BEFORE.replace("TensorScatter(", 'TensorScatter<mode = "circular">(')
    assert_rewrites(LowerTensorScatter(), text, None, feeds={"i": np.array([6, 3])}, tolerance=0)


def test_leaves_longer_updates_at_unknown_places():
    text = BEFORE.replace("[2, 1, 3] u", "[2, 2, 3] u")
    assert_leaves(LowerTensorScatter(), text, because="its 2 positions are given at run time")
    assert_leaves(LowerTensorScatter(), BEFORE.replace("2, 4, 3", "N, 4, 3"), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x, update = around.op("Neg", around.input(2, 4, 3)), around.input(2, around.choose(1, 2), 3)
        at = [around.constant(np.array([1, 1]))] if around.choose(True, True, False) else []
        around.op("TensorScatter", x, update, *at, mode=around.choose("linear", "circular"))

    check_surroundings(LowerTensorScatter(), build, least_hits=0.5)
