import numpy as np
import pytest

from npuopt.passes.lower.lower_conv_1d import LowerConv1d
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_a_convolution_gets_a_second_axis():
    signature = "(float[N, 1, 8] x) => (float[N, 2, L] y) <float[2, 1, 3] w = {1, 2, 3, 4, 5, 6}, float[2] b = {1, 2}"
    assert_rewrites(
        LowerConv1d(),
        f"{signature}> {{y = Conv<pads = [1, 0], strides = [2], dilations = [1], kernel_shape = [3]>(x, w, b)}}",
        f"""{signature}, int64[1] axis = {{2}}, float[2, 1, 1, 3] v = {{1, 2, 3, 4, 5, 6}}> {{
            u = Unsqueeze(x, axis)
            c = Conv<pads = [0, 1, 0, 0], strides = [1, 2], dilations = [1, 1], kernel_shape = [1, 3]>(u, v, b)
            y = Squeeze(c, axis)
        }}""",
    )


@pytest.mark.parametrize(
    "op",
    [
        "MaxPool<kernel_shape = [3], strides = [2], pads = [1, 1]>(x)",
        'AveragePool<kernel_shape = [3], auto_pad = "SAME_LOWER">(x)',
        "LpPool<kernel_shape = [2], p = 1>(x)",
        "ConvTranspose<strides = [2], output_padding = [1]>(x, w)",
    ],
)
def test_pools_and_transposed_convolutions_too(op):
    text = f"(float[N, 2, 8] x, float[2, 1, 3] w) => (float[N, C, L] y) {{y = {op}}}"
    assert_rewrites(LowerConv1d(), text, None)


def test_leaves_other_ranks_and_indices_that_are_read():
    wide = "(float[N, 2, 8, 8] x, float[2, 2, 3, 3] w) => (float[N, 2, 6, 6] y) {y = Conv(x, w)}"
    assert_leaves(LowerConv1d(), wide, because=None)
    read = "(float[N, 2, 8] x) => (float[N, 2, 7] y, int64[N, 2, 7] i) {y, i = MaxPool<kernel_shape = [2]>(x)}"
    assert_leaves(LowerConv1d(), read, because="more than its first output is read")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 4, 9))
        group = around.choose(1, 2)
        weight = np.random.default_rng(0).normal(size=(4, 4 // group, 3)).astype("f")
        strides, pads, dilations = around.choose([1], [2]), around.choose([0, 0], [1, 2]), around.choose([1], [2])
        around.op("Conv", x, around.constant(weight), group=group, strides=strides, pads=pads, dilations=dilations)

    check_surroundings(LowerConv1d(), build, least_hits=0.9)
