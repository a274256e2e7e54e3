import numpy as np

from npuopt.passes.lower.lower_clip import LowerClip
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x, float low, float high) => (float[N, 4] y) {y = Clip(x, low, high)}"


def test_becomes_the_smaller_of_the_larger():
    after = """(float[N, 4] x, float low, float high) => (float[N, 4] y) {m = Max(x, low) y = Min(m, high)}"""
    assert_rewrites(LowerClip(), BEFORE, after)


def test_bounds_that_are_left_out_or_cross():
    assert_rewrites(LowerClip(), BEFORE.replace("Clip(x, low, high)", "Clip(x, , high)"), None)
    crossed = {"low": np.array(2, "f"), "high": np.array(-1, "f")}
    assert_rewrites(LowerClip(), BEFORE, None, feeds=crossed)


def test_leaves_what_the_target_takes():
    assert_leaves(LowerClip(), BEFORE, because=None, target=takes("Clip"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        bounds = [around.constant(np.array(value, "f")) for value in (-1, 1)]
        around.op("Clip", around.op("Neg", around.input(2, 3)), *bounds[: around.choose(0, 1, 2)])

    check_surroundings(LowerClip(), build, examples=12, least_hits=0.9)
