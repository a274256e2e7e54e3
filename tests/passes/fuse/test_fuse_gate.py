import math

import pytest

from npuopt.passes.fuse.fuse_gate import FuseGate
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = f"<float root = {{{math.sqrt(2)}}}, float one = {{1}}, float half = {{0.5}}>"
SIGNATURE = f"(float[N, 4] x, float[N, 4] u) => (float[N, 4] y) {CONSTANTS}"
ERF = "a = Div(x, root) e = Erf(a) r = Add(e, one)"


@pytest.mark.parametrize(
    ("formula", "op"),
    [
        ("s = Sigmoid(x) g = Mul(s, u) y = Mul(x, g)", "Swish"),
        ("s = Sigmoid(x) g = Mul(u, x) y = Mul(g, s)", "Swish"),
        (f"{ERF} h = Mul(x, half) g = Mul(r, u) y = Mul(h, g)", "Gelu"),
        (f"{ERF} h = Mul(x, half) g = Mul(h, u) y = Mul(g, r)", "Gelu"),
        (f"{ERF} h = Mul(r, half) g = Mul(x, u) y = Mul(g, h)", "Gelu"),
    ],
)
def test_the_activation_comes_first(formula, op):
    after = f"{SIGNATURE} {{a = {op}(x) y = Mul(a, u)}}"
    assert_rewrites(FuseGate(), f"{SIGNATURE} {{{formula}}}", after)


BEFORE = f"{SIGNATURE} {{s = Sigmoid(x) g = Mul(s, u) y = Mul(x, g)}}"


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("4] y)", "4] y, float[N, 4] g)"), "'g' is a graph output"),
        (BEFORE.replace("Mul(x, g)", "Mul(u, g)"), None),
        (BEFORE.replace("4] u)", "4] u, float[N, 4] s)").replace("s = Sigmoid(x) ", ""), None),
        (BEFORE.replace("[N, 4] u", "[1, N, 4] u").replace("[N, 4] y", "[1, N, 4] y"), "raises the rank"),
    ],
)
def test_leaves_other_products(text, because):
    assert_leaves(FuseGate(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x, gated = around.op("Neg", around.input(2, 3)), around.input(*around.choose((2, 3), (3,), (1, 3)))
        other = around.choose(x, x, around.op("Abs", x))
        sigmoid = around.op("Sigmoid", x)
        factors = around.choose((sigmoid, other), (other, sigmoid))
        around.op("Mul", factors[0], around.op("Mul", factors[1], gated))

    check_surroundings(FuseGate(), build, examples=40, least_hits=0.1)
