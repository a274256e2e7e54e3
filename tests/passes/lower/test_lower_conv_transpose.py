import numpy as np
import pytest

from npuopt.passes.lower.lower_conv_transpose import LowerConvTranspose
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[1, 1, 3] x) => (float[1, 1, 7] y) <float[1, 1, 3] w = {1, 2, 3}"


def test_zeros_stand_between_the_elements_and_the_weights_are_mirrored():
    assert_rewrites(
        LowerConvTranspose(),
        f"{SIGNATURE}> {{y = ConvTranspose<strides = [2]>(x, w)}}",
        f"""{SIGNATURE}, int64[3] single = {{3, 1, 1}}, int64[6] pads = {{0, 0, 0, 0, 1, 0}}, float zero = {{0}},
            int64[3] wide = {{1, 1, 6}}, float[1, 1, 3] v = {{3, 2, 1}}> {{
            a = Reshape(x, single) p = Pad(a, pads, zero) s = Reshape(p, wide)
            y = Conv<group = 1, dilations = [1], pads = [2, 1]>(s, v)
        }}""",
    )


@pytest.mark.parametrize(
    "attributes",
    [
        "strides = [3, 2], output_padding = [2, 1]",
        "strides = [2, 2], pads = [1, 2, 0, 1], group = 2",
        "dilations = [2, 3], strides = [2, 1]",
        "pads = [3, 3, 2, 1], strides = [4, 4], output_padding = [1, 0]",
        'auto_pad = "VALID", strides = [2, 1]',
        'auto_pad = "SAME_UPPER", strides = [1, 2]',
        'auto_pad = "SAME_LOWER", strides = [2, 2], dilations = [2, 1]',
        "output_shape = [7, 10], strides = [2, 2], dilations = [3, 1]",
        "output_shape = [8, 10], strides = [2, 2], output_padding = [1, 0]",
        'output_shape = [7, 10], strides = [2, 2], auto_pad = "SAME_UPPER", group = 2',
    ],
)
def test_every_kind_of_geometry(attributes):
    numbers = ", ".join(str(number % 7 - 3) for number in range(4 * 3 * 2 * 3))
    text = f"""(float[2, 4, 4, 5] x) => (float[2, C, H, W] y)
        <float[4, 3, 2, 3] w = {{{numbers}}}> {{y = ConvTranspose<{attributes}>(x, w)}}"""
    assert_rewrites(LowerConvTranspose(), text, None)


def test_leaves_what_it_cannot_know():
    text = f"{SIGNATURE}> {{y = ConvTranspose<strides = [2]>(x, w)}}"
    asked = text.replace("strides", "output_shape = [9], strides").replace("1, 7] y", "1, 9] y")
    assert_leaves(LowerConvTranspose(), asked, because="more than its weights reach")
    assert_leaves(LowerConvTranspose(), text.replace("1, 1, 3] x", "N, 1, 3] x"), because="not static")
    runtime = "(float[1, 1, 3] x, float[1, 1, 3] w) => (float[1, 1, 5] y) {y = ConvTranspose(x, w)}"
    assert_leaves(LowerConvTranspose(), runtime, because="its weights are not constant")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 2, 4, 3))
        group, generator = around.choose(1, 2), np.random.default_rng(0)
        weight = around.constant(generator.normal(size=(2, 2, 3, 2)).astype("f"))
        bias = around.constant(generator.normal(size=2 * group).astype("f"))
        around.op(
            "ConvTranspose", x, weight, bias, group=group, strides=around.choose([1, 1], [3, 2]), pads=[1, 0, 0, 1]
        )

    check_surroundings(LowerConvTranspose(), build)
