import numpy as np
import pytest

from npuopt.passes.lower.lower_reduction_to_matmul import LowerReductionToMatMul
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_a_sum_is_a_product_with_ones():
    signature = "(float[2, 3] x) => (float[2, 1] y)"
    assert_rewrites(
        LowerReductionToMatMul(),
        f"{signature} <int64[1] axes = {{-1}}> {{y = ReduceSum(x, axes)}}",
        f"{signature} <int64[1] axes = {{-1}}, float[3, 1] ones = {{1, 1, 1}}> {{y = MatMul(x, ones)}}",
    )


def test_a_mean_of_everything_is_one_row():
    signature = "(float[1, 2, 2] x) => (float y)"
    assert_rewrites(
        LowerReductionToMatMul(),
        f"{signature} {{y = ReduceMean<keepdims = 0>(x)}}",
        f"""{signature}
        <int64[2] row = {{1, 4}}, float[4, 1] quarters = {{0.25, 0.25, 0.25, 0.25}}, int64[0] none = {{}}> {{
            r = Reshape(x, row) m = MatMul(r, quarters) y = Reshape(m, none)
        }}""",
    )


@pytest.mark.parametrize("axes", ["{3}", "{-1}", "{2, 3}", "{1, 2, 3}", "{0, 2, 3}", "{0, 1, 2, 3}"])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_the_last_axes_with_or_without_those_of_one(axes, keepdims):
    shape = (1, 2, 3, 4)
    reduced = {int(axis) % 4 for axis in axes.strip("{}").split(",")}
    sizes = [1 if axis in reduced else size for axis, size in enumerate(shape) if keepdims or axis not in reduced]
    declared = f"[{', '.join(map(str, sizes))}]" if sizes else ""
    signature = f"(float[1, 2, 3, 4] x) => (float{declared} y) <int64[{len(reduced)}] axes = {axes}>"
    text = f"{signature} {{y = ReduceMean<keepdims = {keepdims}>(x, axes)}}"
    assert_rewrites(LowerReductionToMatMul(), text, None)


@pytest.mark.parametrize("axes", ["{0}", "{1}", "{0, 2}"])
def test_leaves_other_axes(axes):
    count = axes.count(",") + 1
    text = f"(float[2, 3, 4] x) => (float[a, b, c] y) <int64[{count}] axes = {axes}> {{y = ReduceSum(x, axes)}}"
    assert_leaves(LowerReductionToMatMul(), text, because="not the last ones")


def test_leaves_axes_that_are_all_one():
    text = "(float[3, 1] x) => (float[3, 1] y) <int64[1] axes = {1}> {y = ReduceSum(x, axes)}"
    assert_leaves(LowerReductionToMatMul(), text, because="not the last ones")


def test_leaves_integers():
    text = "(int64[2, 3] x) => (int64[2, 1] y) <int64[1] axes = {1}> {y = ReduceSum(x, axes)}"
    assert_leaves(LowerReductionToMatMul(), text, because="may not fit")


def test_leaves_what_has_no_elements():
    text = "(float[2, 0] x) => (float[2, 1] y) <int64[1] axes = {1}> {y = ReduceSum(x, axes)}"
    assert_leaves(LowerReductionToMatMul(), text, because="no elements")


def test_leaves_axes_given_at_run_time():
    text = "(float[2, 3] x, int64[1] axes) => (float[a, b] y) {y = ReduceSum(x, axes)}"
    assert_leaves(LowerReductionToMatMul(), text, because="not static")


def test_leaves_a_sum_over_nothing():
    text = "(float[2, 3] x) => (float[2, 3] y) {y = ReduceSum<noop_with_empty_axes = 1>(x)}"
    assert_leaves(LowerReductionToMatMul(), text, because=None)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        axes = around.constant(np.array(around.choose([3], [2, 3], [-2, -1], [1, 2, 3], [1]), np.int64))
        kind = around.choose("ReduceMean", "ReduceSum")
        around.op(kind, around.op("Neg", around.input(2, 3, 1, 4)), axes, keepdims=around.choose(0, 1))

    check_surroundings(LowerReductionToMatMul(), build, least_hits=0.3)
