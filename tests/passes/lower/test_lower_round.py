import numpy as np

from npuopt.passes.lower.lower_round import LowerRound
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = Round(x)}"


def test_becomes_comparisons_of_the_rest():
    after = """(float[N, 4] x) => (float[N, 4] y) <float half = {0.5}, float zero = {0}, float one = {1}> {
        a = Abs(x) f = Floor(a) r = Sub(a, f) h = Mul(f, half) g = Floor(h) k = Sub(h, g) odd = Greater(k, zero)
        up = Add(f, one) even = Where(odd, up, f) more = Greater(r, half) up2 = Add(f, one) near = Where(more, up2, f)
        tie = Equal(r, half) w = Where(tie, even, near) s = Sign(x) y = Mul(s, w)
    }"""
    assert_rewrites(LowerRound(), BEFORE, after)


def test_halves_zeros_and_what_has_no_fraction():
    values = [-2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.5, 1e30, -np.inf, np.inf, np.nan, 8388609.0, -0.3, 0.49999997]
    x = np.array(values, np.float32).reshape(-1, 1).repeat(4, 1)
    assert_rewrites(LowerRound(), BEFORE, None, feeds={"x": x}, seeds=[0], tolerance=0)


def test_leaves_what_the_target_takes():
    assert_leaves(LowerRound(), BEFORE, because=None, target=takes("Round"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Round", around.op("Mul", around.input(2, 3), around.constant(np.array(0.5, "f"))))

    check_surroundings(LowerRound(), build, examples=12, least_hits=0.9)
