import numpy as np

from npuopt.passes.lower.lower_gather_nd import LowerGatherNd
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[2, 3, 4] x, int64[5, 2] i) => (float[5, 4] y) {y = GatherND(x, i)}"


def test_becomes_one_gather_by_flat_positions():
    after = """(float[2, 3, 4] x, int64[5, 2] i) => (float[5, 4] y)
        <int64[2] s = {6, 4}, int64 zero = {0}, int64[2] sizes = {2, 3}, int64[2] strides = {3, 1},
         int64[1] last = {-1}> {
        t = Reshape(x, s) n = Less(i, zero) a = Add(i, sizes) w = Where(n, a, i) m = Mul(w, strides)
        p = ReduceSum<keepdims = 0>(m, last) y = Gather<axis = 0>(t, p)
    }"""
    assert_rewrites(LowerGatherNd(), BEFORE, after, ranges=RANGES, tolerance=0)


RANGES = {"i": (-2, 2)}


def test_constant_indices_are_added_up_at_once():
    before = "(float[2, 3, 4] x) => (float[2, 4] y) <int64[2, 2] i = {1, 2, -1, -3}> {y = GatherND(x, i)}"
    after = before.replace("> {", ", int64[2] s = {6, 4}, int64[2] p = {5, 3}> {")
    after = after.replace("y = GatherND(x, i)", "t = Reshape(x, s) y = Gather<axis = 0>(t, p)")
    assert_rewrites(LowerGatherNd(), before, after, tolerance=0)


def test_each_batch_gathers_its_own():
    text = """(float[2, 3, 4] x, int64[2, 5, 1] i) => (float[2, 5, 4] y) {y = GatherND<batch_dims = 1>(x, i)}"""
    assert_rewrites(LowerGatherNd(), text, None, ranges={"i": (-3, 3)}, tolerance=0)


def test_leaves_dynamic_shapes():
    assert_leaves(LowerGatherNd(), BEFORE.replace("[5, ", "[N, "), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 4))
        indices, batch = around.choose(([[0, 1], [-1, -3]], 0), ([[1], [0]], 0), ([[[1], [2]], [[0], [-1]]], 1))
        around.op("GatherND", x, around.constant(np.array(indices)), batch_dims=batch)

    check_surroundings(LowerGatherNd(), build, least_hits=0.9, tolerance=0)
