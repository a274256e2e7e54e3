import numpy as np

from npuopt.passes.lower.lower_gather_elements import LowerGatherElements
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[2, 3] x, int64[2, 2] i) => (float[2, 2] y) {y = GatherElements<axis = 1>(x, i)}"


def test_becomes_one_gather_by_flat_positions():
    after = """(float[2, 3] x, int64[2, 2] i) => (float[2, 2] y)
        <int64[1] s = {-1}, int64 zero = {0}, int64 size = {3}, int64[2, 2] rows = {0, 0, 3, 3}> {
        t = Reshape(x, s) n = Less(i, zero) a = Add(i, size) w = Where(n, a, i)
        p = Add(w, rows) y = Gather<axis = 0>(t, p)
    }"""
    assert_rewrites(LowerGatherElements(), BEFORE, after, ranges=RANGES, tolerance=0)


RANGES = {"i": (-2, 2)}


def test_constant_indices_are_added_up_at_once():
    before = "(float[2, 3] x) => (float[1, 3] y) <int32[1, 3] i = {1, 0, -1}> {y = GatherElements(x, i)}"
    after = before.replace("> {", ", int64[1] s = {-1}, int64[1, 3] p = {3, 1, 5}> {")
    after = after.replace("y = GatherElements(x, i)", "t = Reshape(x, s) y = Gather<axis = 0>(t, p)")
    assert_rewrites(LowerGatherElements(), before, after, tolerance=0)


def test_leaves_dynamic_shapes():
    assert_leaves(LowerGatherElements(), BEFORE.replace("2, 2]", "N, 2]"), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(3, 4))
        indices = around.constant(np.array([[0, 1], [-1, 2]], around.choose("int32", "int64")))
        around.op("GatherElements", x, indices, axis=around.choose(0, 1, -1))

    check_surroundings(LowerGatherElements(), build, least_hits=0.9, tolerance=0)
