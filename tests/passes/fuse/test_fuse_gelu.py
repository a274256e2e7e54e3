import math

import numpy as np
import pytest

from npuopt.passes.fuse.fuse_gelu import FuseGelu
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = (
    "<float root = {1.41421354}, float one = {1}, float half = {0.5}, float inverse = {0.707106769}, float two = {2}>"
)
SIGNATURE = f"(float[N, 4] x) => (float[N, 4] y) {CONSTANTS}"
TANH = """(float[N, 4] x) => (float[N, 4] y)
    <float cubic = {0.044715}, float root = {0.797884583}, float one = {1}, float half = {0.5}, float two = {2},
     float three = {3}>"""


@pytest.mark.parametrize(
    "formula",
    [
        "a = Div(x, root) b = Erf(a) c = Add(b, one) d = Mul(x, c) y = Mul(d, half)",
        "a = Mul(inverse, x) b = Erf(a) c = Add(one, b) d = Mul(half, x) y = Mul(c, d)",
        "a = Mul(x, inverse) b = Erf(a) c = Add(b, one) d = Mul(c, half) y = Mul(d, x)",
        "a = Div(x, root) b = Erf(a) c = Add(b, one) d = Mul(x, c) y = Div(d, two)",
        "a = Div(x, root) b = Erf(a) c = Mul(b, half) d = Add(c, half) y = Mul(x, d)",
    ],
)
def test_the_erf_formula_in_any_order(formula):
    assert_rewrites(FuseGelu(), f"{SIGNATURE} {{{formula}}}", f"{SIGNATURE} {{y = Gelu(x)}}")


@pytest.mark.parametrize(
    "formula",
    [
        "p = Pow(x, three) a = Mul(cubic, p) b = Add(x, a) c = Mul(root, b)",
        "s = Mul(x, x) p = Mul(x, s) a = Mul(p, cubic) b = Add(a, x) c = Mul(b, root)",
        "s = Mul(cubic, x) p = Mul(x, s) a = Mul(x, p) b = Add(x, a) c = Mul(root, b)",
        "s = Mul(x, x) p = Mul(cubic, s) a = Mul(x, p) b = Add(x, a) c = Mul(root, b)",
        "s = Pow(x, two) a = Mul(s, cubic) b = Add(a, one) r = Mul(x, root) c = Mul(r, b)",
        "s = Mul(x, x) a = Mul(cubic, s) b = Add(one, a) r = Mul(x, b) c = Mul(r, root)",
    ],
)
def test_the_tanh_formula_in_any_order(formula):
    before = f"{TANH} {{{formula} t = Tanh(c) u = Add(t, one) h = Mul(x, half) y = Mul(h, u)}}"
    assert_rewrites(FuseGelu(), before, f'{TANH} {{y = Gelu<approximate = "tanh">(x)}}')


def test_half_precision_constants_are_rounded_ones():
    numbers = {"root": math.sqrt(2), "one": 1, "half": 0.5}
    bits = ", ".join(f"float16 {name} = {{{np.float16(number).view(np.uint16)}}}" for name, number in numbers.items())
    signature = f"(float16[N, 4] x) => (float16[N, 4] y) <{bits}>"
    before = f"{signature} {{a = Div(x, root) b = Erf(a) c = Add(b, one) d = Mul(x, c) y = Mul(d, half)}}"
    assert_rewrites(FuseGelu(), before, f"{signature} {{y = Gelu(x)}}", seeds=[])


FORMULA = "{a = Div(x, root) b = Erf(a) c = Add(b, one) d = Mul(x, c) y = Mul(d, half)}"


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (f"{SIGNATURE} {FORMULA}".replace("1.41421354", "1.5"), None),
        (f"{SIGNATURE} {FORMULA}".replace("(x, c)", "(a, c)"), None),
        (f"{SIGNATURE} {FORMULA}".replace("[N, 4] x", "[N, 4] x, float one").replace("float one = {1}, ", ""), None),
        (f"{SIGNATURE} {FORMULA}".replace("[N, 4] y", "[N, 4] y, float[N, 4] b"), "'b' is a graph output"),
        (
            f"{SIGNATURE} {FORMULA[:-1]} z = Neg(c)}}".replace("[N, 4] y", "[N, 4] y, float[N, 4] z"),
            "'c' is read elsewhere",
        ),
        (
            f"{SIGNATURE} {FORMULA}".replace("[N, 4] y", "[1, N, 4] y").replace("float half", "float[1, 1, 1] half"),
            "raises the rank",
        ),
    ],
)
def test_leaves_other_formulas(text, because):
    assert_leaves(FuseGelu(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3))
        root, one, half = (around.constant(np.array(number, "f")) for number in (math.sqrt(2), 1, 0.5))
        gate = around.op("Add", around.op("Erf", around.op("Div", x, root)), one)
        around.op("Mul", around.op("Mul", x, gate), half)

    check_surroundings(FuseGelu(), build, examples=150, least_hits=0.05)
