import numpy as np

from npuopt.passes.lower.lower_square_root import LowerSquareRoot
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = Sqrt(x)}"
EDGES = {"x": np.array([[0, -0.0, 1, 16], [np.inf, -np.inf, np.nan, -2], [1e-37, 3e38, 0.5, 7]], "f")}


def test_becomes_half_a_logarithm():
    after = "(float[N, 4] x) => (float[N, 4] y) <float half = {0.5}> {l = Log(x) h = Mul(l, half) y = Exp(h)}"
    assert_rewrites(LowerSquareRoot(), BEFORE, after, ranges={"x": (10.0, 0.5)})


def test_is_right_at_the_edges_of_numbers():
    assert_rewrites(LowerSquareRoot(), BEFORE, None, feeds=EDGES)


def test_leaves_what_the_target_takes():
    assert_leaves(LowerSquareRoot(), BEFORE, because=None, target=takes("Sqrt"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Sqrt", around.op("Exp", around.input(2, 3)))

    check_surroundings(LowerSquareRoot(), build, examples=12, least_hits=0.9)
