import numpy as np

from npuopt.passes.lower.lower_trilu import LowerTrilu
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_becomes_a_masked_selection():
    assert_rewrites(
        LowerTrilu(),
        "(float[N, 2, 3] x) => (float[N, 2, 3] y) {y = Trilu(x)}",
        """(float[N, 2, 3] x) => (float[N, 2, 3] y) <bool[2, 3] mask = {1, 1, 1, 0, 1, 1}, float zero = {0}> {
            y = Where(mask, x, zero)
        }""",
    )


def test_a_lower_triangle_of_booleans():
    assert_rewrites(
        LowerTrilu(),
        "(bool[2, 3] x) => (bool[2, 3] y) <int64 k = {1}> {y = Trilu<upper = 0>(x, k)}",
        "(bool[2, 3] x) => (bool[2, 3] y) <bool[2, 3] mask = {1, 1, 0, 1, 1, 1}, int64 k = {1}> {y = And(mask, x)}",
    )


def test_infinities_are_masked_not_multiplied():
    feeds = {"x": np.full((2, 2), -np.inf, "f")}
    assert_rewrites(LowerTrilu(), "(float[2, 2] x) => (float[2, 2] y) {y = Trilu(x)}", None, feeds=feeds, tolerance=0)


def test_leaves_a_matrix_of_unknown_size():
    text = "(float[N, 3] x) => (float[N, 3] y) {y = Trilu(x)}"
    assert_leaves(LowerTrilu(), text, because="size of its matrix is not known")


def test_leaves_a_diagonal_given_at_run_time():
    text = "(float[3, 3] x, int64 k) => (float[3, 3] y) {y = Trilu(x, k)}"
    assert_leaves(LowerTrilu(), text, because="diagonal is not constant")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 4))
        around.op("Trilu", x, around.constant(np.array(around.choose(-2, 0, 1))), upper=around.choose(0, 1))

    check_surroundings(LowerTrilu(), build)
