import itertools
import math

import numpy as np

from npuopt.passes.lower.axes import merge_neighbours
from npuopt.passes.lower.lower_transpose_rank import LowerTransposeRank
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_neighbours_that_stay_together_become_one_axis():
    signature = "(float[2, 3, 4, 5, 1] x) => (float[4, 5, 2, 3, 1] y)"
    assert_rewrites(
        LowerTransposeRank(),
        f"{signature} {{y = Transpose<perm = [2, 3, 0, 1, 4]>(x)}}",
        f"""{signature} <int64[2] s = {{6, 20}}, int64[5] t = {{4, 5, 2, 3, 1}}> {{
            a = Reshape(x, s) b = Transpose<perm = [1, 0]>(a) y = Reshape(b, t)
        }}""",
        tolerance=0,
    )


def test_axes_of_length_one_need_no_transpose_at_all():
    signature = "(float[1, 3, 1, 5, 1] x) => (float[3, 1, 1, 1, 5] y)"
    assert_rewrites(
        LowerTransposeRank(),
        f"{signature} {{y = Transpose<perm = [1, 0, 2, 4, 3]>(x)}}",
        f"""{signature} <int64[1] s = {{15}}, int64[5] t = {{3, 1, 1, 1, 5}}> {{
            a = Reshape(x, s) y = Reshape(a, t)
        }}""",
        tolerance=0,
    )


def test_what_cannot_be_merged_becomes_swaps():
    text = "(float[2, 3, 4, 2, 3, 2] x) => (float[2, 3, 2, 4, 3, 2] y) {y = Transpose(x)}"
    report = assert_rewrites(LowerTransposeRank(), text, None, tolerance=0)
    assert report.changed[0].text.count("Transpose") == 5


def test_merging_is_the_same_movement_for_every_order():
    shape = (2, 3, 1, 2, 4)
    x = np.arange(math.prod(shape)).reshape(shape)
    for order in itertools.permutations(range(5)):
        sizes, merged = merge_neighbours(shape, list(order))
        assert np.array_equal(x.reshape(sizes).transpose(merged).ravel(), x.transpose(order).ravel()), order


def test_leaves_low_ranks_and_dynamic_shapes():
    text = "(float[2, 3, 4, 5] x) => (float[5, 4, 3, 2] y) {y = Transpose(x)}"
    assert_leaves(LowerTransposeRank(), text, because=None)
    dynamic = "(float[N, 3, 4, 5, 6] x) => (float[6, 5, 4, 3, N] y) {y = Transpose(x)}"
    assert_leaves(LowerTransposeRank(), dynamic, because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        shape = around.choose((2, 1, 3, 2, 2), (2, 3, 2, 1, 2, 3), (2, 2, 2, 2, 2, 2, 2))
        order = np.random.default_rng(around.choose(*range(8))).permutation(len(shape))
        around.op("Transpose", around.op("Neg", around.input(*shape)), perm=order.tolist())

    check_surroundings(LowerTransposeRank(), build, least_hits=0.9, tolerance=0)
