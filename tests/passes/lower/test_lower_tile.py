import numpy as np

from npuopt.passes.lower.lower_tile import LowerTile
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[N, 2] x) => (float[M, 6] y) <int64[2] r = {1, 3}> {y = Tile(x, r)}"


def test_becomes_joins_with_itself():
    after = """(float[N, 2] x) => (float[M, 6] y) <int64[2] r = {1, 3}> {y = Concat<axis = 1>(x, x, x)}"""
    assert_rewrites(LowerTile(), BEFORE, after)


def test_leaves_many_repeats_and_unknown_ones():
    assert_leaves(LowerTile(most=2), BEFORE, because="not from 1 to 2")
    assert_leaves(LowerTile(), BEFORE.replace("{1, 3}", "{1, 0}").replace("M, 6", "M, 0"), because="not from 1")
    runtime = "(float[N, 2] x, int64[2] r) => (float[A, B] y) {y = Tile(x, r)}"
    assert_leaves(LowerTile(), runtime, because="not constant")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3))
        around.op("Tile", x, around.constant(np.array(around.choose([1, 1], [2, 3]))))

    check_surroundings(LowerTile(), build, least_hits=0.4, tolerance=0)
