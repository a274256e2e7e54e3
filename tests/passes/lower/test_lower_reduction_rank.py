import numpy as np
import pytest

from npuopt.passes.lower.lower_reduction_rank import LowerReductionRank
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_neighbouring_axes_become_one():
    signature = "(float[1, 6, 5, 8] x) => (float[1, 6, 5, 1] y)"
    assert_rewrites(
        LowerReductionRank(),
        f"{signature} <int64[1] axes = {{-1}}> {{y = ReduceMean(x, axes)}}",
        f"""{signature} <int64[1] axes = {{-1}}, int64[3] small = {{1, 30, 8}}, int64[1] last = {{2}},
            int64[4] back = {{1, 6, 5, 1}}> {{
            r = Reshape(x, small) m = ReduceMean<keepdims = 1>(r, last) y = Reshape(m, back)
        }}""",
    )


@pytest.mark.parametrize("axes", ["{1, 2}", "{0, 1}", "{2, 3}", "{0}", "{3}"])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_any_axes_in_one_run(axes, keepdims):
    shape = [1 if str(axis) in axes else size for axis, size in enumerate((2, 3, 4, 5))]
    kept = shape if keepdims else [size for size in shape if size != 1]
    count = axes.count(",") + 1
    signature = f"(float[2, 3, 4, 5] x) => (float[{', '.join(map(str, kept))}] y)"
    text = f"{signature} <int64[{count}] axes = {axes}> {{y = ReduceMax<keepdims = {keepdims}>(x, axes)}}"
    assert_rewrites(LowerReductionRank(), text, None)


def test_leaves_axes_that_alternate():
    text = "(float[2, 3, 4, 5] x) => (float[1, 3, 1, 5] y) <int64[2] axes = {0, 2}> {y = ReduceSum(x, axes)}"
    assert_leaves(LowerReductionRank(), text, because="alternate too often")


def test_leaves_axes_given_at_run_time():
    text = "(float[2, 3, 4, 5] x, int64[1] axes) => (float[a, b, c, d] y) {y = ReduceSum(x, axes)}"
    assert_leaves(LowerReductionRank(), text, because="not static")


def test_leaves_low_rank():
    text = "(float[2, 3, 4] x) => (float[2, 3, 1] y) <int64[1] axes = {2}> {y = ReduceSum(x, axes)}"
    assert_leaves(LowerReductionRank(), text, because=None)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        axes = around.constant(np.array(around.choose([3], [2, 3], [-2, -1], [0, 1], [1, 2, 3]), np.int64))
        kind = around.choose("ReduceMean", "ReduceSum", "ReduceMax")
        around.op(kind, around.op("Neg", around.input(2, 3, 1, 4)), axes, keepdims=around.choose(0, 1))

    check_surroundings(LowerReductionRank(), build, least_hits=0.5)
