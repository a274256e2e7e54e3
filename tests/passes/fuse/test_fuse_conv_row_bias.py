import numpy as np
import pytest

from npuopt.passes.fuse.fuse_conv_row_bias import FuseConvRowBias
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[1, 2, 1, 6] x) => (float[2, 3, 2] y) <float[2, 2, 1, 1] w = {1, 2, 3, 4}, int64[3] s = {2, 3, 2}"
ROWS = "c = Conv(x, w) t = Transpose<perm = [0, 2, 3, 1]>(c) r = Reshape(t, s)"
BEFORE = f"{SIGNATURE}, float[2] b = {{5, 6}}> {{{ROWS} y = Add(r, b)}}"


@pytest.mark.parametrize(
    ("constant", "total"),
    [("float[2] b = {5, 6}", "5, 6"), ("float[1, 1, 2] b = {5, 6}", "5, 6"), ("float b = {5}", "5, 5")],
)
def test_a_row_goes_into_the_bias(constant, total):
    before = BEFORE.replace("float[2] b = {5, 6}", constant)
    made = ROWS.replace("(x, w)", "(x, w, sum)").replace("r = ", "y = ")
    assert_rewrites(FuseConvRowBias(), before, f"{SIGNATURE}, {constant}, float[2] sum = {{{total}}}> {{{made}}}")


def test_a_bias_that_is_there_is_added_to():
    before = BEFORE.replace("(x, w)", "(x, w, b)").replace("Add(r, b)", "Add(b, r)")
    made = ROWS.replace("(x, w)", "(x, w, sum)").replace("r = ", "y = ")
    assert_rewrites(
        FuseConvRowBias(), before, f"{SIGNATURE}, float[2] b = {{5, 6}}, float[2] sum = {{10, 12}}> {{{made}}}"
    )


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("float[2] b = {5, 6}", "float[3, 1] b = {5, 6, 7}"), "no constant row"),
        (
            BEFORE.replace("float[2] b = {5, 6}", "float[1, 1, 1, 2] b = {5, 6}").replace(
                "[2, 3, 2] y", "[1, 2, 3, 2] y"
            ),
            "no",
        ),
        (BEFORE.replace("x) =>", "x, float[2] b) =>").replace(", float[2] b = {5, 6}", ""), "no constant row"),
        (BEFORE.replace("{2, 3, 2}", "{2, 6, 1}").replace("[2, 3, 2] y", "[2, 6, 2] y"), "takes channels apart"),
    ],
)
def test_leaves_what_is_no_row_of_the_channels(text, because):
    assert_leaves(FuseConvRowBias(), text, because=because)


def test_leaves_rows_that_are_read_elsewhere_and_other_orders():
    shown = BEFORE.replace("[2, 3, 2] y)", "[2, 3, 2] y, float[2, 3, 2] r)")
    assert_leaves(FuseConvRowBias(), shown, because=None)
    assert_leaves(FuseConvRowBias(), BEFORE.replace("[0, 2, 3, 1]", "[0, 3, 2, 1]"), because=None)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 2, 1, 6))
        rows = around.op("Conv", x, around.constant(np.random.default_rng(0).normal(size=(4, 2, 1, 1)).astype("f")))
        rows = around.op("Transpose", rows, perm=[0, 2, 3, 1])
        rows = around.op("Reshape", rows, around.constant(np.array([2, 3, 4])))
        around.op("Add", rows, around.constant(np.array(around.choose([1, 2, 3, 4], [5]), np.float32)))

    check_surroundings(FuseConvRowBias(), build)
