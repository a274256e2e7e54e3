import numpy as np

from npuopt.passes.lower.lower_expand import LowerExpand
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[2, 1, 3] x) => (float[2, 4, 3] y) <int64[3] s = {2, 4, 3}> {y = Expand(x, s)}"


def test_becomes_tile():
    after = BEFORE.replace("{2, 4, 3}>", "{2, 4, 3}, int64[3] r = {1, 4, 1}>").replace("Expand(x, s)", "Tile(x, r)")
    assert_rewrites(LowerExpand(), BEFORE, after, tolerance=0)


def test_a_higher_rank_is_reshaped_first():
    signature = "(float[3] x) => (float[2, 3] y) <int64[2] s = {2, 1}"
    after = f"{signature}, int64[2] a = {{1, 3}}, int64[2] r = {{2, 1}}> {{b = Reshape(x, a) y = Tile(b, r)}}"
    assert_rewrites(LowerExpand(), f"{signature}> {{y = Expand(x, s)}}", after, tolerance=0)


def test_leaves_a_shape_that_is_not_static():
    text = "(float[N, 1] x, int64[2] s) => (float[N, M] y) {y = Expand(x, s)}"
    assert_leaves(LowerExpand(), text, because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(*around.choose((2, 1, 3), (1, 3), (3,), (1,))))
        shape = around.choose([2, 4, 3], [1, 1, 3], [2, 1, 3], [5, 2, 2, 3], [1])
        around.op("Expand", x, around.constant(np.array(shape), varies=False))

    check_surroundings(LowerExpand(), build, least_hits=0.9, tolerance=0)
