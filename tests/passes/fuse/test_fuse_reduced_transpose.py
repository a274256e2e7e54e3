import numpy as np
import pytest

from npuopt.passes.fuse.fuse_reduced_transpose import FuseReducedTranspose
from support.descriptors import target_with
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

BEFORE = "t = Transpose<perm = [0, 2, 3, 1]>(x) y = ReduceMean<keepdims = 0>(t, axes)"
NOTHING = "keepdims = 0, noop_with_empty_axes = 1"
CONSTANT = "<int64[2] axes = {1, 2}>"


def pooled(body=BEFORE, constants=CONSTANT, output="float[N, 3] y"):
    return f"(float[N, 3, 4, 5] x) => ({output}) {constants} {{{body}}}"


def classes(body):
    return f"(float[N, 3, 4, 5] x) => (int64[N, 4, 5] y) {{{body}}}"


def test_pooling_of_a_channels_last_value():
    constants = "<int64[2] axes = {1, 2}, int64[2] moved = {2, 3}>"
    after = pooled("y = ReduceMean<keepdims = 0>(x, moved)", constants)
    assert_rewrites(FuseReducedTranspose(), pooled(), after)


def test_axes_may_be_counted_from_the_back_and_left_out():
    assert_rewrites(FuseReducedTranspose(), pooled(constants="<int64[2] axes = {-3, -2}>"), None)
    assert_rewrites(FuseReducedTranspose(), pooled(constants="<int64[1] axes = {-1}>", output="float[N, 4, 5] y"), None)
    everything = "(float[2, 3] x) => (float y) {t = Transpose(x) y = ReduceSum<keepdims = 0>(t)}"
    after = "(float[2, 3] x) => (float y) <int64[2] a = {0, 1}> {y = ReduceSum<keepdims = 0>(x, a)}"
    assert_rewrites(FuseReducedTranspose(), everything, after)


def test_the_class_of_each_pixel():
    assert_rewrites(
        FuseReducedTranspose(),
        classes("t = Transpose<perm = [0, 2, 3, 1]>(x) y = ArgMax<axis = -1, keepdims = 0>(t)"),
        classes("y = ArgMax<axis = 1, keepdims = 0>(x)"),
    )


def test_a_transpose_that_is_read_elsewhere_stays_for_the_others():
    assert_rewrites(
        FuseReducedTranspose(), pooled(f"{BEFORE} z = Neg(t)", output="float[N, 3] y, float[N, 4, 5, 3] z"), None
    )


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (pooled(BEFORE.replace("<keepdims = 0>", ""), output="float[N, 1, 1, 3] y"), None),
        (pooled("y = ReduceMean<keepdims = 0>(x, axes)", output="float[N, 5] y"), None),
        (pooled(BEFORE.replace("0, 2, 3, 1", "1, 2, 3, 0"), output="float[3, N] y"), "in this order"),
        (pooled(constants="").replace("] x)", "] x, int64[2] axes)"), "computed at run time"),
        (f"(float[2, 3] x) => (float[3, 2] y) {{t = Transpose(x) y = ReduceSum<{NOTHING}>(t)}}", "in this order"),
    ],
)
def test_leaves(text, because):
    assert_leaves(FuseReducedTranspose(), text, because=because)


def test_a_target_that_takes_other_axes_only():
    target = target_with(
        "  ArgMax: {schemes: [fp16], dtypes: {outputs: {all: [int64]}}, when: [{attribute: axis, equal: -1}]}"
    )
    text = classes("t = Transpose<perm = [0, 2, 3, 1]>(x) y = ArgMax<axis = -1, keepdims = 0>(t)")
    report = FuseReducedTranspose()(model_from(text.replace("N,", "2,")), target)
    assert not report.changed
    assert "refuses it along the axes of 'x'" in report.declined[0].text


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 1, 2))
        order, axes = around.choose(
            ([0, 2, 3, 1], [1, 2]), ([0, 2, 3, 1], [-3, -2]), ([0, 2, 3, 1], [3]), ([3, 1, 2, 0], [0, 3]),
            ([3, 2, 1, 0], [0, 1, 2, 3]), ([3, 2, 1, 0], [2]), ([1, 0, 2, 3], [0]), ([0, 2, 3, 1], [0])
        )  # fmt: skip
        turned = around.op("Transpose", x, perm=order)
        if around.choose(True, False):
            around.op("ArgMin", turned, axis=axes[0], keepdims=around.choose(0, 0, 0, 1))
            return
        kind = around.choose("ReduceMean", "ReduceMax", "ReduceL2", "ReduceProd")
        reduced = around.constant(np.array(axes), varies=around.choose(True, False, False, False))
        around.op(kind, turned, reduced, keepdims=around.choose(0, 0, 0, 1))

    check_surroundings(FuseReducedTranspose(), build, examples=40, least_hits=0.15)
