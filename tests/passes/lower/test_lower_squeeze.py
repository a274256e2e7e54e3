import numpy as np

from npuopt.passes.lower.lower_squeeze import LowerSqueeze
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[2, 3] x) => (float[2, 1, 3] y) <int64[1] a = {1}> {y = Unsqueeze(x, a)}"


def test_becomes_a_reshape():
    after = """(float[2, 3] x) => (float[2, 1, 3] y) <int64[1] a = {1}, int64[3] s = {2, 1, 3}> {y = Reshape(x, s)}"""
    assert_rewrites(LowerSqueeze(), BEFORE, after)


def test_all_axes_of_one():
    assert_rewrites(LowerSqueeze(), "(float[1, 2, 1] x) => (float[2] y) {y = Squeeze(x)}", None, tolerance=0)


def test_leaves_dynamic_shapes():
    dynamic = BEFORE.replace("float[2, ", "float[N, ")
    assert_leaves(LowerSqueeze(), dynamic, because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 1, 3))
        around.op(around.choose("Squeeze", "Unsqueeze"), x, around.constant(np.array([1]), varies=False))

    check_surroundings(LowerSqueeze(), build, least_hits=0.9, tolerance=0)
