import numpy as np
import pytest

from npuopt.passes.fuse.fuse_conv_scale import FuseConvScale
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[N, 1, 2, 2] x) => (float[N, 2, 2, 2] y)"
CONSTANTS = "<float[2, 1, 1, 1] w = {1, 2}, float[2, 1, 1] c = {4, 5}, float[2] b = {1, 3}>"
BEFORE = f"{SIGNATURE} {CONSTANTS} {{a = Conv(x, w) y = Mul(a, c)}}"


@pytest.mark.parametrize(
    ("formula", "weight", "bias"),
    [
        ("a = Conv(x, w) y = Mul(a, c)", "4, 10", ""),
        ("a = Conv(x, w, b) y = Mul(c, a)", "4, 10", "4, 15"),
        ("a = Conv(x, w, b) y = Div(a, c)", "0.25, 0.4", "0.25, 0.6"),
    ],
)
def test_goes_into_the_weights(formula, weight, bias):
    more = f", float[2, 1, 1, 1] w2 = {{{weight}}}" + (f", float[2] b2 = {{{bias}}}" if bias else "")
    after = f"{SIGNATURE} {CONSTANTS[:-1]}{more}> {{y = Conv(x, w2{', b2' if bias else ''})}}"
    assert_rewrites(FuseConvScale(), f"{SIGNATURE} {CONSTANTS} {{{formula}}}", after)


def test_a_constant_as_wide_as_the_image_is_no_scale_of_channels():
    text = """(float[1, 4, 4, 4] x) => (float[1, 4, 4, 4] y)
        <float[4, 1, 1, 1] w = {1, 2, 3, 4}, float[4] c = {1, 2, 3, 4}> {a = Conv<group = 4>(x, w) y = Mul(a, c)}"""
    assert_leaves(FuseConvScale(), text, because="'c' of shape [4] does not run along the 4 channels")


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("Mul(a, c)", "Div(a, c)").replace("{4, 5}", "{4, 0}"), "divides by zero"),
        (BEFORE.replace("Mul(a, c)", "Div(c, a)"), None),
        (
            BEFORE.replace("2, 2] x", "2, 2] x, float[2, 1, 1] c").replace("float[2, 1, 1] c = {4, 5}, ", ""),
            "not constant",
        ),
        (BEFORE.replace("2, 2] y", "2, 2] y, float[N, 2, 2, 2] a"), "graph output or read elsewhere"),
        (BEFORE.replace("Mul(a, c)", "Mul(a, s)").replace("y = M", "s = Sigmoid(a) y = M"), None),
    ],
)
def test_leaves_what_is_no_scale(text, because):
    assert_leaves(FuseConvScale(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(4)
        x = around.op("Neg", around.input(2, 2, 3, 4))
        bias = [around.constant(generator.normal(size=4).astype("f"))] if around.choose(True, False) else []
        y = around.op("Conv", x, around.constant(generator.normal(size=(4, 2, 1, 1)).astype("f")), *bias)
        shape = around.choose((4, 1, 1), (1, 4, 1, 1), (1,), (), (4,), (1, 4), (4, 1, 4), (2, 4, 1, 1))
        constant = around.constant(generator.normal(size=shape).astype("f"))
        op = around.choose("Mul", "Div")
        around.op(op, *((y, constant) if around.choose(True, False) else (constant, y)))

    check_surroundings(FuseConvScale(), build, examples=80, least_hits=0.1)
