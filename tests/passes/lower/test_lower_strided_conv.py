import numpy as np
import pytest

from npuopt.passes.lower.lower_strided_conv import LowerStridedConv
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_neighbours_along_the_last_axis_become_channels():
    assert_rewrites(
        LowerStridedConv(),
        """(float[1, 1, 2, 12] x) => (float[1, 1, 2, 3] y) <float[1, 1, 1, 4] w = {1, 2, 3, 4}> {
            y = Conv<kernel_shape = [1, 4], strides = [1, 4]>(x, w)
        }""",
        """(float[1, 1, 2, 12] x) => (float[1, 1, 2, 3] y)
            <int64[4] shape = {1, 2, 3, 4}, float[1, 4, 1, 1] taps = {1, 2, 3, 4},
            float[1, 1, 1, 4] w = {1, 2, 3, 4}> {
            last = Transpose<perm = [0, 2, 3, 1]>(x) merged = Reshape(last, shape)
            blocks = Transpose<perm = [0, 3, 1, 2]>(merged) y = Conv<kernel_shape = [1, 1]>(blocks, taps)
        }""",
    )


def test_zero_taps_fill_the_last_block():
    assert_rewrites(
        LowerStridedConv(),
        """(float[1, 1, 6] x) => (float[1, 1, 2] y) <float[1, 1, 3] w = {1, 2, 3}> {
            y = Conv<kernel_shape = [3], strides = [2]>(x, w)
        }""",
        """(float[1, 1, 6] x) => (float[1, 1, 2] y)
            <int64[3] shape = {1, 3, 2}, float[1, 2, 2] taps = {1, 3, 2, 0}, float[1, 1, 3] w = {1, 2, 3}> {
            last = Transpose<perm = [0, 2, 1]>(x) merged = Reshape(last, shape)
            blocks = Transpose<perm = [0, 2, 1]>(merged) y = Conv<kernel_shape = [2]>(blocks, taps)
        }""",
    )


@pytest.mark.parametrize(
    "geometry",
    [
        "kernel_shape = [5, 3], strides = [4, 3]",
        "kernel_shape = [5, 3], strides = [4, 1], pads = [1, 0, 2, 1]",
        "kernel_shape = [5, 3], strides = [3, 5], pads = [2, 1, 4, 0]",
        "kernel_shape = [5, 3], strides = [1, 4], dilations = [2, 1], pads = [0, 3, 0, 6]",
        'kernel_shape = [5, 3], strides = [4, 6], auto_pad = "SAME_UPPER"',
        'kernel_shape = [5, 3], strides = [6, 4], auto_pad = "SAME_LOWER"',
    ],
)
def test_any_padding(geometry):
    weights = ", ".join(str(value) for value in np.random.default_rng(0).integers(-9, 9, 3 * 2 * 5 * 3))
    text = f"(float[2, 2, 13, 14] x, float[3] b) => (float[2, 3, H, W] y) <float[3, 2, 5, 3] w = {{{weights}}}>"
    assert_rewrites(LowerStridedConv(), f"{text} {{y = Conv<{geometry}>(x, w, b)}}", None)


@pytest.mark.parametrize(
    ("geometry", "weights", "because"),
    [
        ("strides = [1, 1]", "<float[2, 2, 1, 1] w = {1, 2, 3, 4}>", None),
        ("strides = [4, 4]", "", "weights are not constant"),
        ("strides = [4, 4], group = 2", "<float[2, 1, 1, 1] w = {1, 2}>", "groups"),
        ("strides = [1, 2], dilations = [1, 3]", "<float[1, 2, 1, 2] w = {1, 2, 3, 4}>", "apart"),
    ],
)
def test_leaves_what_blocks_do_not_cover(geometry, weights, because):
    given = "" if weights else ", float[2, 2, 1, 1] w"
    text = f"(float[1, 2, 8, 8] x{given}) => (float[1, A, B, C] y) {weights} {{y = Conv<{geometry}>(x, w)}}"
    assert_leaves(LowerStridedConv(), text, because=because)


def test_leaves_shapes_that_are_not_static():
    text = "(float[1, 1, N] x) => (float[1, 1, M] y) <float[1, 1, 1] w = {2}> {y = Conv<strides = [4]>(x, w)}"
    assert_leaves(LowerStridedConv(), text, because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 2, 11))
        weight = np.random.default_rng(0).normal(size=(3, 2, around.choose(1, 3, 4))).astype("f")
        around.op(
            "Conv",
            x,
            around.constant(weight, varies=False),
            strides=[around.choose(1, 2, 4, 5)],
            pads=around.choose([0, 0], [1, 3], [2, 0], [4, 5]),
        )

    check_surroundings(LowerStridedConv(), build, examples=30, least_hits=0.3)
