import numpy as np
import pytest

from npuopt.passes.fuse.fuse_conv_input_affine import FuseConvInputAffine
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[N, 2, 3, 3] x) => (float[N, 2, 3, 3] y)"
CONSTANTS = """<float[2, 2, 1, 1] w = {1, 2, 3, 4}, float[2] b = {5, 6}, float[2, 1, 1] s = {10, 20},
    float[1] t = {0.5}"""
BEFORE = f"{SIGNATURE} {CONSTANTS}> {{a = Mul(x, s) y = Conv(a, w, b)}}"
SUM = f"{SIGNATURE} {CONSTANTS}> {{a = Add(x, s) y = Conv(a, w, b)}}"


@pytest.mark.parametrize(
    ("formula", "weight", "bias"),
    [
        ("a = Mul(x, s) y = Conv(a, w, b)", "10, 40, 30, 80", "5, 6"),
        ("a = Mul(s, x) y = Conv(a, w)", "10, 40, 30, 80", None),
        ("a = Div(x, s) y = Conv(a, w)", "0.1, 0.1, 0.3, 0.2", None),
        ("a = Add(x, s) y = Conv(a, w, b)", "1, 2, 3, 4", "55, 116"),
        ("a = Sub(x, t) y = Conv(a, w)", "1, 2, 3, 4", "-1.5, -3.5"),
    ],
)
def test_goes_into_the_weights_or_the_bias(formula, weight, bias):
    more = f", float[2, 2, 1, 1] w2 = {{{weight}}}" + (f", float[2] b2 = {{{bias}}}" if bias else "")
    after = f"{SIGNATURE} {CONSTANTS}{more}> {{y = Conv(x, w2{', b2' if bias else ''})}}"
    assert_rewrites(FuseConvInputAffine(), f"{SIGNATURE} {CONSTANTS}> {{{formula}}}", after)


def test_a_factor_passes_padding():
    text = f"{SIGNATURE} {CONSTANTS}, float[2, 2, 3, 3] k = {{{', '.join(map(str, range(36)))}}}>"
    assert_rewrites(FuseConvInputAffine(), f"{text} {{a = Mul(x, s) y = Conv<pads = [1, 1, 1, 1]>(a, k)}}", None)
    padded = f"{text} {{a = Add(x, s) y = Conv<pads = [1, 1, 1, 1]>(a, k)}}"
    assert_leaves(FuseConvInputAffine(), padded, because="its padding is not summed")


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (SUM.replace("Conv(a", 'Conv<auto_pad = "SAME_UPPER">(a'), "its padding is not summed"),
        (BEFORE.replace("[2, 1, 1] s = {10, 20}", "[3] s = {1, 2, 3}"), "[3] does not run along the 2 channels"),
        (BEFORE.replace("Mul(x", "Div(x").replace("{10, 20}", "{0, 20}"), "divides by zero"),
        (BEFORE.replace("Mul(x, s)", "Div(s, x)"), None),
        (BEFORE.replace("3, 3] y", "3, 3] y, float[N, 2, 3, 3] a"), "read elsewhere or is a graph output"),
        (
            BEFORE.replace("3, 3] x", "3, 3] x, float[2, 1, 1] s").replace("float[2, 1, 1] s = {10, 20},", ""),
            "'s' is not constant",
        ),
        (BEFORE.replace("3, 3] x", "3, 3] x, float[2] b").replace("float[2] b = {5, 6}, ", ""), "bias is not constant"),
        (
            """(float[1, 1, 3, 3] x) => (float[1, 2, 3, 3] y) <float[2, 2, 1, 1] w = {1, 2, 3, 4},
            float[2, 1, 1] s = {1, 2}> {a = Mul(x, s) y = Conv(a, w)}""",
            "changes the shape",
        ),
        (BEFORE.replace("{10, 20}", "{3e38, 20}"), "not be finite"),
    ],
)
def test_leaves_what_would_not_be_exact(text, because):
    assert_leaves(FuseConvInputAffine(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(4)
        x, group = around.op("Neg", around.input(2, 4, 5, 5)), around.choose(1, 2)
        shape = around.choose((4, 1, 1), (1, 4, 1, 1), (1,), (), (5,), (1, 5))
        x = around.op(
            around.choose("Mul", "Add", "Div", "Sub"), x, around.constant(generator.normal(size=shape).astype("f"))
        )
        bias = [around.constant(generator.normal(size=6).astype("f"))] if around.choose(True, False) else []
        weight = around.constant(generator.normal(size=(6, 4 // group, 3, 3)).astype("f"))
        around.op("Conv", x, weight, *bias, group=group, pads=around.choose([0] * 4, [1] * 4))

    check_surroundings(FuseConvInputAffine(), build, examples=80, least_hits=0.1)
