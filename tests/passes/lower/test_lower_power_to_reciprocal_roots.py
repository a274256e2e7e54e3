import numpy as np
import pytest

from npuopt.passes.lower.lower_power_to_reciprocal_roots import LowerPowerToReciprocalRoots
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[N, 4] x) => (float[N, 4] y) <float e = {%s}> {y = Pow(x, e)}"
AFTER = "(float[N, 4] x) => (float[N, 4] y) <float e = {%s}, float m = {-0.5}> {r = Pow(x, m) %s}"
EDGES = {"x": np.array([[0, -0.0, 1, 16], [np.inf, -np.inf, np.nan, -2], [1e-37, 3e38, 0.5, 7]], "f")}


@pytest.mark.parametrize(
    ("exponent", "after"),
    [
        ("0.25", "y = Pow(r, m)"),
        ("0.5", "a = Mul(r, r) y = Pow(a, m)"),
        ("0.75", "a = Mul(r, r) h = Pow(a, m) q = Pow(r, m) y = Mul(h, q)"),
        ("-0.25", "a = Mul(r, r) h = Pow(a, m) y = Pow(h, m)"),
        ("-0.75", "a = Mul(r, r) h = Pow(a, m) q = Pow(h, m) y = Mul(r, q)"),
    ],
)
def test_becomes_reciprocal_roots(exponent, after):
    text = AFTER % (exponent, after)
    assert_rewrites(LowerPowerToReciprocalRoots(), BEFORE % exponent, text, ranges={"x": (10.0, 0.5)})


@pytest.mark.parametrize("exponent", ["0.25", "0.5", "0.75", "-0.25", "-0.75"])
def test_is_right_at_the_edges_of_numbers(exponent):
    assert_rewrites(LowerPowerToReciprocalRoots(), BEFORE % exponent, None, feeds=EDGES)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE % "-0.5", "exponent is -0.5"),
        (BEFORE % "2", "exponent is 2"),
        ("(float[4] x, float e) => (float[4] y) {y = Pow(x, e)}", "no single constant"),
        ("(float[4] x) => (float[1, 4] y) <float[1, 1] e = {0.25}> {y = Pow(x, e)}", "raises the rank"),
        ("(int32[4] x) => (int32[4] y) <float e = {0.5}> {y = Pow(x, e)}", "exponent is 0.5"),
    ],
)
def test_leaves_other_powers(text, because):
    assert_leaves(LowerPowerToReciprocalRoots(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        exponent = np.array(around.choose(-0.75, -0.25, 0.25, 0.5, 0.75), dtype="f")
        base = around.op("Exp", around.input(2, 3))
        around.op("Pow", base, around.constant(exponent.reshape(around.choose((), (1,), (1, 1)))))

    check_surroundings(LowerPowerToReciprocalRoots(), build)
