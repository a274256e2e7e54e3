import numpy as np
import pytest

from npuopt.passes.lower.lower_large_stride import LowerLargeStride
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

END = 2**31 - 1


def test_a_slice_keeps_every_third_result():
    signature = "(float[1, 2, 8, 8] x) => (float[1, 2, 3, 8] y)"
    assert_rewrites(
        LowerLargeStride(),
        f"{signature} {{y = MaxPool<kernel_shape = [2, 1], strides = [3, 1]>(x)}}",
        f"""{signature} <int64[1] zero = {{0}}, int64[1] end = {{{END}}}, int64[1] axis = {{2}},
            int64[1] step = {{3}}> {{
            p = MaxPool<kernel_shape = [2, 1]>(x) y = Slice(p, zero, end, axis, step)
        }}""",
    )


@pytest.mark.parametrize(
    "op",
    [
        "Conv<strides = [4, 6], pads = [1, 0, 2, 1]>(x, w)",
        'Conv<strides = [2, 3], auto_pad = "SAME_LOWER">(x, w)',
        "AveragePool<kernel_shape = [3, 2], strides = [2, 5], pads = [1, 1, 1, 0], count_include_pad = 1>(x)",
        "LpPool<kernel_shape = [2, 2], strides = [4, 4], p = 1>(x)",
    ],
)
def test_convolutions_and_averages_too(op):
    text = f"(float[1, 2, 13, 14] x, float[3, 2, 3, 3] w) => (float[1, C, H, W] y) {{y = {op}}}"
    assert_rewrites(LowerLargeStride(), text, None)


def test_leaves_unit_strides_and_ceilings():
    text = "(float[1, 2, 8, 8] x) => (float[1, 2, A, B] y) {y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)}"
    assert_leaves(LowerLargeStride(), text.replace("strides = [2, 2]", "strides = [1, 1]"), because=None)
    assert_leaves(LowerLargeStride(), text.replace("strides", "ceil_mode = 1, strides"), because="ceil_mode is set")
    assert_leaves(LowerLargeStride(), text.replace("1, 2, 8, 8", "1, 2, N, 8"), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 2, 11))
        weight = np.random.default_rng(0).normal(size=(3, 2, 3)).astype("f")
        around.op(
            "Conv", x, around.constant(weight), strides=[around.choose(1, 2, 4, 5)], pads=around.choose([0, 0], [1, 3])
        )

    check_surroundings(LowerLargeStride(), build, examples=20, least_hits=0.3)
