import numpy as np
import pytest

from npuopt.passes.lower.lower_reduction import LowerReduction
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[N, 3, 4] x) => (float[N, 3] y) <int64[1] axes = {-1}>"


@pytest.mark.parametrize(
    ("op", "after"),
    [
        ("ReduceL1", "a = Abs(x) y = ReduceSum<keepdims = 0>(a, axes)"),
        ("ReduceL2", "a = Mul(x, x) b = ReduceSum<keepdims = 0>(a, axes) y = Sqrt(b)"),
        ("ReduceSumSquare", "a = Mul(x, x) y = ReduceSum<keepdims = 0>(a, axes)"),
        (
            "ReduceLogSumExp",
            """top = ReduceMax<keepdims = 1>(x, axes) a = Sub(x, top) b = Exp(a) c = ReduceSum<keepdims = 0>(b, axes)
            d = Log(c) e = ReduceMax<keepdims = 0>(x, axes) y = Add(d, e)""",
        ),
    ],
)
def test_becomes_a_sum(op, after):
    before = f"{SIGNATURE} {{y = {op}<keepdims = 0>(x, axes)}}"
    assert_rewrites(LowerReduction(), before, f"{SIGNATURE} {{{after}}}")


def test_the_logarithm_of_a_sum():
    text = "(float[2, 3] x) => (float[1, 1] y) {y = ReduceLogSum(x)}"
    feeds = {"x": np.arange(1, 7, dtype="f").reshape(2, 3)}
    assert_rewrites(
        LowerReduction(),
        text,
        "(float[2, 3] x) => (float[1, 1] y) {s = ReduceSum<keepdims = 1>(x) y = Log(s)}",
        feeds=feeds,
    )


def test_a_large_exponent_does_not_overflow():
    text = "(float[2, 3] x) => (float[2, 1] y) <int64[1] axes = {1}> {y = ReduceLogSumExp(x, axes)}"
    assert_rewrites(LowerReduction(), text, None, ranges={"x": (500.0, 3.0)})


def test_leaves_a_reduction_of_nothing():
    text = "(float[2, 3] x) => (float[2, 3] y) {y = ReduceL2<noop_with_empty_axes = 1>(x)}"
    assert_leaves(LowerReduction(), text, because="noop_with_empty_axes")


def test_leaves_roots_of_integers():
    text = "(int32[2, 3] x) => (int32[1, 1] y) {y = ReduceL2(x)}"
    assert_leaves(LowerReduction(), text, because="no INT32")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        op = around.choose("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp")
        axes = around.constant(np.array(around.choose([0], [-1], [0, 2]), dtype=np.int64), varies=False)
        around.op(op, around.op("Neg", around.input(3, 3, 3)), axes, keepdims=around.choose(0, 1))

    check_surroundings(LowerReduction(), build, least_hits=0.9)
