import pytest

from npuopt.passes.lower.lower_large_pool import LowerLargePool
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_a_maximum_of_maxima():
    signature = "(float[1, 2, 9, 9] x) => (float[1, 2, 4, 9] y)"
    assert_rewrites(
        LowerLargePool(),
        f"{signature} {{y = MaxPool<kernel_shape = [3, 1], strides = [2, 1]>(x)}}",
        f"""{signature} {{
            p = MaxPool<kernel_shape = [2, 1]>(x) y = MaxPool<kernel_shape = [2, 1], strides = [2, 1]>(p)
        }}""",
        tolerance=0,
    )


def test_a_mean_of_means():
    signature = "(float[1, 2, 12, 3] x) => (float[1, 2, 2, 1] y)"
    assert_rewrites(
        LowerLargePool(),
        f"{signature} {{y = AveragePool<kernel_shape = [6, 3], strides = [6, 3]>(x)}}",
        f"""{signature} {{
            p = AveragePool<kernel_shape = [3, 1], strides = [3, 1]>(x)
            y = AveragePool<kernel_shape = [2, 3], strides = [2, 3]>(p)
        }}""",
    )


@pytest.mark.parametrize("pads", ["[4, 2, 4, 3]", "[0, 0, 6, 0]", "[5, 3, 0, 1]"])
@pytest.mark.parametrize("dilation", [1, 2])
def test_padding_is_shared_out(pads, dilation):
    text = f"""(float[1, 2, 17, 16] x) => (float[1, 2, H, W] y) {{
        y = MaxPool<kernel_shape = [7, 4], pads = {pads}, dilations = [{dilation}, 1], strides = [2, 3]>(x)
    }}"""
    assert_rewrites(LowerLargePool(), text, None, tolerance=0)


def test_leaves_small_kernels_padded_means_and_prime_kernels():
    text = "(float[1, 2, 12, 12] x) => (float[1, 2, H, W] y) {y = OP}"
    assert_leaves(LowerLargePool(), text.replace("OP", "MaxPool<kernel_shape = [2, 2]>(x)"), because=None)
    padded = "AveragePool<kernel_shape = [4, 4], strides = [4, 4], pads = [1, 1, 1, 1]>(x)"
    assert_leaves(LowerLargePool(), text.replace("OP", padded), because="padding or dilations")
    prime = "AveragePool<kernel_shape = [4, 4], strides = [3, 3]>(x)"
    assert_leaves(LowerLargePool(), text.replace("OP", prime), because="no factor that splits both")
    ceiling = "MaxPool<kernel_shape = [5, 5], ceil_mode = 1>(x)"
    assert_leaves(LowerLargePool(), text.replace("OP", ceiling), because="ceil_mode")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 2, 12, 13))
        kernel = around.choose([5, 3], [2, 6], [3, 8])
        pads = around.choose([0, 0, 0, 0], [1, 2, 1, 0])
        around.op("MaxPool", x, kernel_shape=kernel, pads=pads, strides=around.choose([1, 1], [3, 2]))

    check_surroundings(LowerLargePool(), build, examples=20, least_hits=0.9, tolerance=0)
