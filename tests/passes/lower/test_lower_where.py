import numpy as np
import pytest

from npuopt.passes.lower.lower_where import LowerWhere
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

MASK = "(bool[N, 3] c) => (float[N, 3] y) <float x = {0}, float z = {-1e9}> {y = Where(c, x, z)}"


def test_a_mask_is_the_condition_times_a_number():
    after = """(bool[N, 3] c) => (float[N, 3] y) <float x = {0}, float one = {1}, float z = {-1e9}> {
        b = Cast<to = 1>(c) n = Sub(one, b) m = Mul(n, z) y = Add(x, m)
    }"""
    assert_rewrites(LowerWhere(), MASK, after, tolerance=0)


@pytest.mark.parametrize("kind", ["float", "int32", "int64", "double"])
def test_both_sides_may_be_tensors(kind):
    text = f"""(bool[2, 1] c) => ({kind}[2, 3] y) <{kind}[3] x = {{1, 2, 3}}, {kind}[2, 1] z = {{-4, 0}}>
        {{y = Where(c, x, z)}}"""
    assert_rewrites(LowerWhere(), text, None, tolerance=0)


def test_zeros_that_stretch_the_result_stay():
    text = "(bool c) => (float[2] y) <float[2] x = {0, 0}, float z = {3}> {y = Where(c, x, z)}"
    assert_rewrites(LowerWhere(), text, None, tolerance=0)
    feeds = {"c": np.array(True)}
    assert_rewrites(LowerWhere(), text.replace("{3}", "{-3}"), None, feeds=feeds, seeds=[0], tolerance=0)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (MASK.replace("-1e9", "-inf"), "not finite"),
        (MASK.replace("x = {0}", "x = {-0.0}"), "a negative zero"),
        (MASK.replace("3] c)", "3] c, float x)").replace("float x = {0}, ", ""), "is not constant"),
        ("(bool[N] c) => (uint8[N] y) <uint8 x = {1}, uint8 z = {2}> {y = Where(c, x, z)}", "chooses from UINT8"),
    ],
)
def test_leaves_what_would_differ(text, because):
    assert_leaves(LowerWhere(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        condition = around.op("Not", around.input(2, 3, dtype="bool"))
        kind = around.choose("float32", "int32")
        low, high = (around.constant(np.array(number, kind)) for number in (around.choose(0, -10000), [1, 0, 7]))
        around.op("Where", condition, *around.choose((low, high), (high, low)))

    check_surroundings(LowerWhere(), build, tolerance=0)
