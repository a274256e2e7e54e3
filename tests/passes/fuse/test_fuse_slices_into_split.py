from itertools import pairwise

import numpy as np
import pytest

from npuopt.passes.fuse.fuse_slices_into_split import FuseSlicesIntoSplit
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = """int64[1] zero = {0}, int64[1] two = {2}, int64[1] three = {3}, int64[1] end = {99}, int64[1] back = {-3},
    int64[1] axis = {1}, int64[1] step = {2}"""
SIGNATURE = f"(float[N, 6] x) => (float[N, 2] a, float[N, 1] b, float[N, 3] c) <{CONSTANTS}"
BEFORE = f"""{SIGNATURE}> {{
    p = Slice(x, back, end, axis) q = Slice(x, zero, two, axis) r = Slice(x, two, three, axis)
    a = Neg(q) b = Neg(r) c = Neg(p)}}"""


def test_slices_in_any_order_become_a_split():
    split = "q, r, p = Split<axis = 1>(x, sizes) a = Neg(q) b = Neg(r) c = Neg(p)"
    after = f"{SIGNATURE}, int64[3] sizes = {{2, 1, 3}}> {{{split}}}"
    assert_rewrites(FuseSlicesIntoSplit(), BEFORE, after)


def test_graph_outputs_keep_their_names():
    text = BEFORE[: BEFORE.index("a = Neg")].replace("p =", "c =").replace("q =", "a =").replace("r =", "b =") + "}"
    after = f"{SIGNATURE}, int64[3] sizes = {{2, 1, 3}}> {{a, b, c = Split<axis = 1>(x, sizes)}}"
    assert_rewrites(FuseSlicesIntoSplit(), text, after)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("back = {-3}", "back = {-2}").replace("3] c", "2] c"), "leave something out or overlap"),
        (BEFORE.replace("back = {-3}", "back = {-4}").replace("3] c", "4] c"), "leave something out or overlap"),
        (BEFORE.replace("end, axis)", "end, axis, step)").replace("3] c", "2] c"), "leave something out or overlap"),
        (BEFORE.replace("[N, 6] x", "[N, K] x"), None),
        (BEFORE.replace("[N, 6] x", "[N, 6] x, int64[1] zero").replace("int64[1] zero = {0}, ", "")
         .replace("2] a", "P] a"), None),
        (f"(float[4] x) => (float[4] y) <{CONSTANTS}> {{y = Slice(x, zero, end)}}", None),
    ],
)  # fmt: skip
def test_leaves_slices_that_do_not_part_it(text, because):
    assert_leaves(FuseSlicesIntoSplit(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 5, 3))
        cuts = sorted(around.choose([0, 2, 5], [0, 2, 5], [0, 1, 3, 5], [0, 2, 4], [0, 5]))
        pairs = list(pairwise(cuts))
        for start, end in around.choose(pairs, pairs[::-1]):
            bounds = [
                around.constant(np.array([item]), varies=False) for item in (start, around.choose(end, end - 5 or 9))
            ]
            around.op("Slice", x, *bounds, around.constant(np.array([around.choose(1, -2)]), varies=False))

    check_surroundings(FuseSlicesIntoSplit(), build, examples=40, least_hits=0.2)
