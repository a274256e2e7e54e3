import numpy as np

from npuopt.passes.lower.lower_gather import LowerGather
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[N, 6] x) => (float[N, 3] y) <int64[3] i = {-5, 2, 5}> {y = Gather<axis = 1>(x, i)}"


def test_becomes_slices_of_what_follows_each_other():
    after = """(float[N, 6] x) => (float[N, 3] y) <int64[3] i = {-5, 2, 5}, int64[1] a = {1}, int64[1] b = {3},
        int64[1] c = {1},
        int64[1] d = {5}, int64[1] e = {6}, int64[1] f = {1}> {
        p = Slice(x, a, b, c) q = Slice(x, d, e, f) y = Concat<axis = 1>(p, q)
    }"""
    assert_rewrites(LowerGather(), BEFORE, after)


def test_a_single_index_takes_the_axis_out():
    text = "(float[3, 4] x) => (float[4] y) <int64 i = {-1}> {y = Gather(x, i)}"
    assert_rewrites(LowerGather(), text, None, tolerance=0)


def test_leaves_many_runs_and_unknown_indices():
    assert_leaves(LowerGather(most=1), BEFORE, because="its indices have 2 runs")
    runtime = "(float[3, 4] x, int64[2] i) => (float[2, 4] y) {y = Gather(x, i)}"
    assert_leaves(LowerGather(), runtime, because="not constant")
    assert_leaves(LowerGather(), BEFORE.replace("[N, 6]", "[N, L]"), because="the length of axis 1 is not known")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(3, 4))
        indices = around.constant(np.array(around.choose(1, [0], [2, 0, 1])))
        around.op("Gather", x, indices, axis=around.choose(0, -1))

    check_surroundings(LowerGather(), build, least_hits=0.4, tolerance=0)
