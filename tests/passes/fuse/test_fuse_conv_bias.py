import numpy as np
import pytest

from npuopt.passes.fuse.fuse_conv_bias import FuseConvBias
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[N, 1, 2, 2] x) => (float[N, 2, 2, 2] y)"
CONSTANTS = "<float[2, 1, 1, 1] w = {1, 2}, float[2, 1, 1] c = {5, 6}, float[2] b = {1, 1}>"


@pytest.mark.parametrize(
    ("formula", "bias"),
    [
        ("a = Conv(x, w) y = Add(a, c)", "5, 6"),
        ("a = Conv(x, w, b) y = Add(c, a)", "6, 7"),
        ("a = Conv(x, w, b) y = Sub(a, c)", "-4, -5"),
        ("a = Conv(x, w, b) d = Add(a, c) y = Add(d, c)", "11, 13"),
    ],
)
def test_goes_into_the_bias(formula, bias):
    after = f"{SIGNATURE} {CONSTANTS[:-1]}, float[2] sum = {{{bias}}}> {{y = Conv(x, w, sum)}}"
    if formula.count("Add") == 2:  # the bias of the first fusion stays behind, unread
        after = after.replace("float[2] sum", "float[2] b1 = {6, 7}, float[2] sum")
    assert_rewrites(FuseConvBias(), f"{SIGNATURE} {CONSTANTS} {{{formula}}}", after)


def test_a_single_number_goes_to_every_channel():
    before = f"{SIGNATURE} {CONSTANTS} {{a = Conv(x, w) y = Add(a, c)}}".replace("[2, 1, 1] c = {5, 6}", "[1] c = {5}")
    after = before.replace(", float[2] b = {1, 1}>", ", float[2] b = {1, 1}, float[2] sum = {5, 5}>")
    assert_rewrites(FuseConvBias(), before, after.replace("a = Conv(x, w) y = Add(a, c)", "y = Conv(x, w, sum)"))


BEFORE = f"{SIGNATURE} {CONSTANTS} {{a = Conv(x, w) y = Add(a, c)}}"


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("float[2, 1, 1] c", "float[2] c"), "[2] does not run along the 2 channels"),
        (BEFORE.replace("float[2, 1, 1] c", "float[2, 1] c"), "[2, 1] does not run along"),
        (
            BEFORE.replace("[N, 2, 2, 2] y", "[1, N, 2, 2, 2] y").replace("float[2, 1, 1] c", "float[1, 1, 2, 1, 1] c"),
            "raises the rank",
        ),
        (
            BEFORE.replace("2, 2] x", "2, 2] x, float[2, 1, 1] c").replace("float[2, 1, 1] c = {5, 6}, ", ""),
            "not constant",
        ),
        (BEFORE.replace("2, 2] y", "2, 2] y, float[N, 2, 2, 2] a"), "graph output or read elsewhere"),
        (f"{SIGNATURE} {CONSTANTS} {{a = Conv(x, w) y = Sub(c, a)}}", None),
        (f"{SIGNATURE} {CONSTANTS} {{a = Conv(x, w) d = Neg(a) y = Add(a, d)}}", None),
        (BEFORE.replace("Conv(x, w)", "Expand(x, s)").replace("<float", "<int64[4] s = {1, 2, 1, 1}, float"), None),
    ],
)
def test_leaves_what_is_no_bias(text, because):
    assert_leaves(FuseConvBias(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(4)
        x = around.op("Neg", around.input(2, 2, 3, 4))
        y = around.op("Conv", x, around.constant(generator.normal(size=(4, 2, 1, 1)).astype("f")))
        shape = around.choose((4, 1, 1), (1, 4, 1, 1), (1,), (), (4,), (1, 4), (4, 1, 4), (2, 4, 1, 1))
        constant = around.constant(generator.normal(size=shape).astype("f"))
        op = around.choose("Add", "Sub")
        around.op(op, *((y, constant) if around.choose(True, False) else (constant, y)))

    check_surroundings(FuseConvBias(), build, examples=80, least_hits=0.1)
