import numpy as np

from npuopt.passes.lower.lower_unread_border import LowerUnreadBorder
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[1, 1, 4, 5] x, float[1, 1, 3, 3] w) => (float[1, 1, 2, 3] y)"
PADDED = f"{SIGNATURE} {{y = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]>(x, w)}}"


def test_padding_that_no_window_reads_goes():
    assert_rewrites(LowerUnreadBorder(), PADDED, PADDED.replace("[1, 1, 1, 1]", "[1, 1, 0, 1]"))


def test_rows_that_no_window_reads_are_cut_off():
    assert_rewrites(
        LowerUnreadBorder(),
        "(float[1, 2, 4] x, float[2, 2, 3] w, float[2] b) => (float[1, 2, 1] y) {y = Conv<strides = [2]>(x, w, b)}",
        """(float[1, 2, 4] x, float[2, 2, 3] w, float[2] b) => (float[1, 2, 1] y)
            <int64[1] start = {0}, int64[1] end = {3}, int64[1] axis = {2}> {
            read = Slice(x, start, end, axis) y = Conv<kernel_shape = [3], strides = [2]>(read, w, b)
        }""",
    )


def test_leaves_what_is_read_to_the_end():
    assert_leaves(LowerUnreadBorder(), PADDED.replace("4, 5] x", "5, 5] x").replace("2, 3] y", "3, 3] y"), because=None)
    assert_leaves(LowerUnreadBorder(), PADDED.replace("4, 5] x", "N, 5] x"), because="not static")
    in_padding = (
        "(float[1, 1, 2] x, float[1, 1, 1] w) => (float[1, 1, 1] y) {y = Conv<pads = [2, 0], strides = [4]>(x, w)}"
    )
    assert_leaves(LowerUnreadBorder(), in_padding, because="lie in the padding")


def test_pools():
    text = """(float[1, 2, 4, 4] x) => (float[1, 2, H, W] y) {
        y = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 0, 0], strides = [2, 4]>(x)
    }"""
    assert_rewrites(LowerUnreadBorder(), text, None)
    assert_rewrites(LowerUnreadBorder(), text.replace("MaxPool<", "AveragePool<count_include_pad = 1, "), None)
    assert_leaves(LowerUnreadBorder(), text.replace("MaxPool<", "MaxPool<ceil_mode = 1, "), because="ceil_mode is set")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 2, around.choose(6, 8)))
        weight = np.random.default_rng(0).normal(size=(2, 2, 3)).astype("f")
        how = around.choose({"pads": [1, 1]}, {"pads": [0, 2]}, {"pads": [1, 3]}, {"dilations": [2], "pads": [0, 1]})
        around.op("Conv", x, around.constant(weight), strides=[around.choose(2, 4)], **how)

    check_surroundings(LowerUnreadBorder(), build, least_hits=0.6)
