import numpy as np
import pytest

from npuopt.passes.lower.lower_power import LowerPower
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[N, 4] x) => (float[N, 4] y) <float e = {%s}> {y = Pow(x, e)}"


@pytest.mark.parametrize(
    ("exponent", "after"),
    [
        ("2", "y = Mul(x, x)"),
        ("3", "a = Mul(x, x) y = Mul(a, x)"),
        ("0.5", "y = Sqrt(x)"),
        ("0.25", "a = Sqrt(x) y = Sqrt(a)"),
        ("0.75", "a = Sqrt(x) b = Sqrt(a) y = Mul(a, b)"),
        ("-1", "y = Reciprocal(x)"),
    ],
)
def test_becomes_simpler_ops(exponent, after):
    ranges = {"x": (10.0, 0.5)} if "." in exponent else None  # a square root of what is below zero has no value
    before = BEFORE % exponent
    assert_rewrites(LowerPower(), before, before.replace("y = Pow(x, e)", after), ranges=ranges)


def test_an_integer_keeps_its_type_whatever_the_exponents():
    text = "(int32[4] x) => (int32[4] y) <float e = {2}> {y = Pow(x, e)}"
    assert_rewrites(LowerPower(), text, text.replace("Pow(x, e)", "Mul(x, x)"))


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE % "1.5", "exponent is 1.5"),
        ("(float[4] x, float e) => (float[4] y) {y = Pow(x, e)}", "no single constant"),
        ("(float[4] x) => (float[1, 4] y) <float[1, 1] e = {2}> {y = Pow(x, e)}", "raises the rank"),
    ],
)
def test_leaves_other_exponents(text, because):
    assert_leaves(LowerPower(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        exponent = np.array(around.choose(1, 2, 3, 4, -1, 0.25, 0.5, 0.75), dtype="f")
        exponent = exponent.reshape(around.choose((), (1,), (1, 1, 1)))
        around.op("Pow", around.op("Exp", around.input(2, 3)), around.constant(exponent))

    check_surroundings(LowerPower(), build)
