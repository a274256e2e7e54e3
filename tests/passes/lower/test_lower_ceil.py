import numpy as np

from npuopt.passes.lower.lower_ceil import LowerCeil
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = Ceil(x)}"


def test_becomes_a_floor_between_negations():
    after = """(float[N, 4] x) => (float[N, 4] y) {a = Neg(x) f = Floor(a) y = Neg(f)}"""
    assert_rewrites(LowerCeil(), BEFORE, after)


def test_the_sign_of_zero_stays():
    x = np.array([[-0.5, -0.0, 0.0, 0.5], [-np.inf, np.inf, np.nan, 1e30]], np.float32)
    assert_rewrites(LowerCeil(), BEFORE, None, feeds={"x": x}, seeds=[0], tolerance=0)


def test_leaves_what_the_target_takes():
    assert_leaves(LowerCeil(), BEFORE, because=None, target=takes("Ceil"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Ceil", around.op("Neg", around.input(2, 3)))

    check_surroundings(LowerCeil(), build, examples=12, least_hits=0.9)
