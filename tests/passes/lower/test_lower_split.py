import numpy as np

from npuopt.passes.lower.lower_split import LowerSplit
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[N, 5] x) => (float[N, 2] y, float[N, 3] z) <int64[2] s = {2, 3}> {y, z = Split<axis = 1>(x, s)}"


def test_becomes_one_slice_for_each_part():
    after = """(float[N, 5] x) => (float[N, 2] y, float[N, 3] z) <int64[2] s = {2, 3},
        int64[1] a = {0}, int64[1] b = {2}, int64[1] c = {1}, int64[1] d = {2}, int64[1] e = {5}, int64[1] f = {1}> {
        y = Slice(x, a, b, c) z = Slice(x, d, e, f)
    }"""
    assert_rewrites(LowerSplit(), BEFORE, after)


def test_an_uneven_number_of_parts_and_an_unread_one():
    text = "(float[5, 2] x) => (float[2, 2] y, float[1, 2] z) {y, , z = Split<num_outputs = 3>(x)}"
    report = assert_rewrites(LowerSplit(), text.replace("y, , z", "y, u, z"), None, tolerance=0)
    assert report.changed[0].text == "became Slice, Slice"


def test_leaves_parts_of_unknown_length():
    text = "(float[N, 5] x, int64[2] s) => (float[A, 5] y, float[B, 5] z) {y, z = Split<axis = 0>(x, s)}"
    assert_leaves(LowerSplit(), text, because="lengths of its parts are not known")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 6))
        sizes = [around.constant(np.array([1, 2, 3]), varies=False)] if around.choose(True, False) else []
        extra = {} if sizes else {"num_outputs": 3}
        around.ops("Split", x, *sizes, outputs=3, axis=around.choose(1, -1), **extra)

    check_surroundings(LowerSplit(), build, least_hits=0.9, tolerance=0)
