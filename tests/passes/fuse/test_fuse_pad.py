import numpy as np
import pytest

from npuopt.passes.fuse.fuse_pad import FusePad
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[N, 1, 4, 4] x) => (float[N, 1, H, W] y)"
CONSTANTS = """<int64[8] q = {0, 0, 1, 0, 0, 0, 1, 2}, float zero = {0},
    float[1, 1, 3, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}>"""
CONV = f"{SIGNATURE} {CONSTANTS} {{a = Pad(x, q, zero) y = Conv<pads = [1, 1, 0, 0], strides = [2, 1]>(a, w)}}"
POOL = f"{SIGNATURE} {CONSTANTS} {{a = Pad(x, q) y = AveragePool<kernel_shape = [3, 3]>(a)}}"


def test_a_conv_pads_by_itself():
    after = f"{SIGNATURE} {CONSTANTS} {{y = Conv<pads = [2, 1, 1, 2], strides = [2, 1]>(x, w)}}"
    assert_rewrites(FusePad(), CONV, after)


def test_axes_may_be_named():
    before = CONV.replace("Pad(x, q, zero)", "Pad(x, q, , axes)").replace(
        "int64[8] q = {0, 0, 1, 0, 0, 0, 1, 2}", "int64[4] q = {0, 1, 2, 1}, int64[2] axes = {-1, 2}"
    )
    after = (
        before.replace("a = Pad(x, q, , axes)", "").replace("[1, 1, 0, 0]", "[2, 1, 1, 2]").replace("(a, w)", "(x, w)")
    )
    assert_rewrites(FusePad(), before, after)


def test_an_average_counts_the_zeros():
    after = f"""{SIGNATURE} {CONSTANTS} {{
        y = AveragePool<kernel_shape = [3, 3], pads = [1, 0, 1, 2], count_include_pad = 1>(x)
    }}"""
    assert_rewrites(FusePad(), POOL, after)


def test_other_readers_keep_the_padded_value():
    before = CONV.replace("W] y", "W] y, float[N, 1, I, J] a")
    after = before.replace("[1, 1, 0, 0]", "[2, 1, 1, 2]").replace("(a, w)", "(x, w)")
    assert_rewrites(FusePad(), before, after)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (POOL.replace("AveragePool", "MaxPool"), "minus infinity"),
        (CONV.replace("zero = {0}", "zero = {1}"), "not pad with zeros"),
        (CONV.replace("4, 4] x", "4, 4] x, float zero").replace("float zero = {0},", ""), "not pad with zeros"),
        (CONV.replace("Pad(", 'Pad<mode = "edge">('), "mode edge"),
        (
            CONV.replace("4, 4] x", "4, 4] x, int64[8] q").replace("int64[8] q = {0, 0, 1, 0, 0, 0, 1, 2}, ", ""),
            "not constant",
        ),
        (CONV.replace("1, 2}, float zero", "-1, 2}, float zero"), "takes away"),
        (CONV.replace("q = {0, 0,", "q = {1, 0,"), "batch or the channels"),
        (CONV.replace("pads = [1, 1, 0, 0]", 'auto_pad = "SAME_UPPER"'), "pads by itself: SAME_UPPER"),
        (POOL.replace("= [3, 3]", "= [3, 3], pads = [1, 1, 1, 1]"), "does not count its own padding"),
        (POOL.replace("= [3, 3]", "= [3, 3], ceil_mode = 1"), "rounds its size up"),
        (POOL.replace("= [3, 3]", "= [2, 2]"), "as wide as the kernel"),
        (f"{SIGNATURE} {CONSTANTS} {{y = Conv(x, w)}}", None),
    ],
)
def test_leaves_what_would_not_be_exact(text, because):
    assert_leaves(FusePad(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 2, 5, 5))
        amounts = around.constant(np.array([0, 0, 1, 0, 0, 0, around.choose(1, 0, -1), 1]), varies=False)
        padded = around.op("Pad", x, amounts, around.constant(np.array(around.choose(0.0, 0.0, 0.0, 1.5), "f")))
        strides, pads = around.choose([1, 1], [2, 2]), around.choose([0, 0, 0, 0], [1, 0, 0, 1])
        op = around.choose("Conv", "AveragePool", "MaxPool")
        if op == "Conv":
            weight = around.constant(np.random.default_rng(0).normal(size=(3, 2, 3, 3)).astype("f"))
            around.op(op, padded, weight, strides=strides, pads=pads)
            return
        counted = {"count_include_pad": around.choose(0, 1)} if op == "AveragePool" else {}
        around.op(op, padded, kernel_shape=[3, 3], strides=strides, pads=pads, **counted)

    check_surroundings(FusePad(), build, examples=60, least_hits=0.12)
