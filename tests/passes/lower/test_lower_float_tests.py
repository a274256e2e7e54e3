import numpy as np
import pytest

from npuopt.passes.lower.lower_float_tests import LowerFloatTests
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[6] x) => (bool[6] y)"
EDGES = {"x": np.array([0, np.inf, -np.inf, np.nan, 3e38, 1], "f")}


@pytest.mark.parametrize(
    ("op", "after"),
    [
        ("IsNaN(x)", "e = Equal(x, x) y = Not(e)"),
        ("IsInf(x)", "a = Abs(x) y = Equal(a, inf)"),
        ("IsInf<detect_negative = 0>(x)", "y = Equal(x, inf)"),
        ("IsInf<detect_positive = 0>(x)", None),
    ],
)
def test_becomes_a_comparison(op, after):
    constants = "" if after is None or "inf" not in after else "<float inf = {inf}>"
    expected = None if after is None else f"{SIGNATURE} {constants} {{{after}}}"
    assert_rewrites(LowerFloatTests(), f"{SIGNATURE} {{y = {op}}}", expected, feeds=EDGES, seeds=[0])


def test_leaves_a_test_for_nothing():
    text = f"{SIGNATURE} {{y = IsInf<detect_positive = 0, detect_negative = 0>(x)}}"
    assert_leaves(LowerFloatTests(), text, because="neither sign")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op(around.choose("IsInf", "IsNaN"), around.op("Log", around.input(2, 3)))

    check_surroundings(LowerFloatTests(), build, least_hits=0.9)
