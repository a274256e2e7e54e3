import pytest

from npuopt.passes.lower.lower_average_pool import LowerAveragePool
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_equal_weights():
    signature = "(float[1, 2, 4, 4] x) => (float[1, 2, 4, 3] y)"
    assert_rewrites(
        LowerAveragePool(),
        f"{signature} {{y = AveragePool<kernel_shape = [1, 2]>(x)}}",
        f"""{signature} <float[2, 1, 1, 2] w = {{0.5, 0.5, 0.5, 0.5}}> {{
            y = Conv<group = 2, kernel_shape = [1, 2]>(x, w)
        }}""",
    )


def test_windows_at_the_edge_count_what_they_see():
    signature = "(float[1, 1, 2] x) => (float[1, 1, 3] y)"
    assert_rewrites(
        LowerAveragePool(),
        f"{signature} {{y = AveragePool<kernel_shape = [2], pads = [1, 1]>(x)}}",
        f"""{signature} <float[1, 1, 2] w = {{1, 1}}, float[1, 1, 3] inverse = {{1, 0.5, 1}}> {{
            s = Conv<group = 1, kernel_shape = [2], pads = [1, 1]>(x, w) y = Mul(s, inverse)
        }}""",
    )


@pytest.mark.parametrize("counted", [0, 1])
@pytest.mark.parametrize(
    "attributes",
    [
        "pads = [1, 2, 0, 1], strides = [2, 2]",
        "ceil_mode = 1, strides = [2, 3]",
        "ceil_mode = 1, strides = [2, 3], pads = [1, 0, 1, 1]",
        "dilations = [2, 3], pads = [1, 1, 1, 1]",
        'auto_pad = "SAME_UPPER", strides = [2, 1]',
        'auto_pad = "SAME_LOWER", strides = [3, 2]',
    ],
)
def test_every_kind_of_padding(attributes, counted):
    text = f"""(float[2, 3, 8, 9] x) => (float[2, 3, H, W] y) {{
        y = AveragePool<kernel_shape = [3, 3], count_include_pad = {counted}, {attributes}>(x)
    }}"""
    assert_rewrites(LowerAveragePool(), text, None)


def test_leaves_dynamic_shapes():
    text = "(float[N, 2, 4, 4] x) => (float[N, 2, 4, 3] y) {y = AveragePool<kernel_shape = [1, 2]>(x)}"
    assert_leaves(LowerAveragePool(), text, because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 2, 7, 8))
        pads, strides = around.choose([0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 2, 1]), around.choose([1, 1], [2, 3])
        around.op("AveragePool", x, kernel_shape=[3, 3], pads=pads, strides=strides, ceil_mode=around.choose(0, 1))

    check_surroundings(LowerAveragePool(), build, least_hits=0.9)
