import numpy as np

from npuopt.passes.lower.lower_wide_indices import LowerWideIndices
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[3, 4] x, int64[2] i) => (float[2, 4] y) {y = Gather(x, i)}"


def test_becomes_a_cast_ahead():
    after = """(float[3, 4] x, int64[2] i) => (float[2, 4] y) {c = Cast<to = 6>(i) y = Gather(x, c)}"""
    assert_rewrites(LowerWideIndices(), BEFORE, after, ranges=RANGES, tolerance=0)


RANGES = {"i": (-3, 3)}


def test_a_constant_is_converted_at_once():
    before = "(float[3, 4] x) => (float[3, 1] y) <int64[1] i = {-1}> {y = Gather<axis = 1>(x, i)}"
    after = before.replace("> {y", ", int32[1] j = {-1}> {y").replace("(x, i)", "(x, j)")
    assert_rewrites(LowerWideIndices(), before, after, tolerance=0)


def test_leaves_narrow_indices_and_unknown_lengths():
    assert_leaves(LowerWideIndices(), BEFORE.replace("int64", "int32"), because=None)
    assert_leaves(LowerWideIndices(), BEFORE.replace("[3, 4] x", "[N, 4] x"), because="axis 0 is N")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(3, 4))
        places = around.constant(np.array([[0, 1], [-1, 2]]))
        op = around.choose("Gather", "GatherElements", "ScatterElements")
        updates = [around.input(2, 2)] if op == "ScatterElements" else []
        around.op(op, x, places, *updates, axis=around.choose(0, 1))

    check_surroundings(LowerWideIndices(), build, examples=15, least_hits=0.9, tolerance=0)
