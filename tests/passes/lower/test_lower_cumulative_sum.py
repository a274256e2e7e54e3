import numpy as np
import pytest

from npuopt.passes.lower.lower_cumulative_sum import LowerCumulativeSum
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[N, 3] x) => (float[N, 3] y) <int64 axis = {1}> {y = CumSum(x, axis)}"


def test_becomes_a_product_with_a_triangle():
    after = """(float[N, 3] x) => (float[N, 3] y) <int64 axis = {1}, float[3, 3] t = {1, 1, 1, 0, 1, 1, 0, 0, 1}>
        {y = MatMul(x, t)}"""
    assert_rewrites(LowerCumulativeSum(), BEFORE, after)


def test_an_axis_that_is_not_the_last_is_moved():
    text = "(float[3, N] x) => (float[3, N] y) <int64 axis = {0}> {y = CumSum<reverse = 1>(x, axis)}"
    after = """(float[3, N] x) => (float[3, N] y) <int64 axis = {0}, float[3, 3] t = {1, 0, 0, 1, 1, 0, 1, 1, 1}> {
        a = Transpose<perm = [1, 0]>(x) b = MatMul(a, t) y = Transpose<perm = [1, 0]>(b)
    }"""
    assert_rewrites(LowerCumulativeSum(), text, after)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("axis = {1}", "axis = {0}"), "length of axis 0 is N"),
        (BEFORE.replace("3] x", "3] x, int64 axis").replace("<int64 axis = {1}>", ""), "axis is not constant"),
        (BEFORE.replace("3]", "5000]"), "not a number up to 4096"),
    ],
)
def test_leaves_other_sums(text, because):
    assert_leaves(LowerCumulativeSum(), text, because=because)


@pytest.mark.parametrize("attributes", ["", "<exclusive = 1>", "<reverse = 1>", "<exclusive = 1, reverse = 1>"])
@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_integers_are_added_exactly(attributes, kind):
    for length in (1, 2, 3, 8, 11):
        text = f"""({kind}[2, {length}, 3] x) => ({kind}[2, {length}, 3] y) <int64 axis = {{-2}}>
            {{y = CumSum{attributes}(x, axis)}}"""
        if length > 1 or "exclusive" in attributes:
            assert_rewrites(LowerCumulativeSum(), text, None, ranges={"x": (-(2**30), 2**30)})


def test_two_steps_of_integers():
    text = BEFORE.replace("float", "int64")
    ones = ", ".join(f"int64[1] one{index} = {{1}}" for index in range(4))
    head = text.split("<")[0] + f"<int64 axis = {{1}}, int64[1] from = {{0}}, int64[1] start = {{0}}, {ones},"
    after = f"""{head} int64[1] low = {{-1}}, int64[1] end = {{-2}}, int64[2] p = {{1, 0}}, int64[2] q = {{2, 0}}> {{
        a = Slice(x, from, low, one0) b = Pad(a, p, , one1) c = Add(x, b)
        d = Slice(c, start, end, one2) e = Pad(d, q, , one3) y = Add(c, e)
    }}"""
    assert_rewrites(LowerCumulativeSum(), text, after)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 4, dtype=around.choose("float32", "int64")))
        axis = around.constant(np.array(around.choose(-1, 0, 1, 2)), varies=False)
        around.op("CumSum", x, axis, exclusive=around.choose(0, 1), reverse=around.choose(0, 1))

    check_surroundings(LowerCumulativeSum(), build, least_hits=0.9)
