import numpy as np
import pytest

from npuopt.passes.fuse.fuse_leaky_relu import FuseLeakyRelu
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = (
    "<float slope = {0.25}, float steep = {2}, float negated = {-0.25}, float zero = {0}, float[3] many = {1, 2, 3}>"
)
SIGNATURE = f"(float[N, 3] x) => (float[N, 3] y) {CONSTANTS}"
SCALED = "a = Mul(x, slope)"
AFTER = f"{SIGNATURE} {{y = LeakyRelu<alpha = 0.25>(x)}}"
EDGES = {"x": np.array([[np.inf, -np.inf, np.nan], [0.0, -0.0, 1e-38], [3.4e38, -3.4e38, -1.0]], "f")}


@pytest.mark.parametrize(
    "formula",
    [
        f"{SCALED} c = Greater(x, zero) y = Where(c, x, a)",
        f"{SCALED} c = GreaterOrEqual(x, zero) y = Where(c, x, a)",
        f"{SCALED} c = Less(zero, x) y = Where(c, x, a)",
        f"{SCALED} c = Less(x, zero) y = Where(c, a, x)",
        f"{SCALED} y = Max(x, a)",
        "p = Relu(x) n = Neg(x) r = Relu(n) a = Mul(slope, r) y = Sub(p, a)",
        "p = Relu(x) n = Neg(x) r = Relu(n) m = Neg(r) a = Mul(m, slope) y = Add(a, p)",
        "p = Relu(x) n = Neg(x) r = Relu(n) a = Mul(negated, r) y = Add(p, a)",
        "p = Relu(x) m = Min(x, zero) a = Mul(m, slope) y = Add(p, a)",
    ],
)
def test_the_usual_spellings(formula):
    assert_rewrites(FuseLeakyRelu(), f"{SIGNATURE} {{{formula}}}", AFTER, dims={"N": 3})
    assert_rewrites(FuseLeakyRelu(), f"{SIGNATURE} {{{formula}}}", AFTER, dims={"N": 3}, feeds=EDGES)


BEFORE = f"{SIGNATURE} {{{SCALED} c = Greater(x, zero) y = Where(c, x, a)}}"


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("3] y)", "3] y, float[N, 3] a)"), "'a' is a graph output"),
        (BEFORE.replace("Where(c, x, a)", "Where(c, a, x)"), None),
        (BEFORE.replace("zero = {0}", "zero = {1}"), None),
        (BEFORE.replace("slope = {0.25}", "slope = {inf}"), "not finite"),
        (BEFORE.replace("Mul(x, slope)", "Mul(x, many)"), "slopes of shape [3]"),
        (BEFORE.replace("3] x", "3] x, float slope").replace("float slope = {0.25}, ", ""), None),
        (f"{SIGNATURE} {{a = Mul(x, steep) y = Max(x, a)}}", "not all between 0 and 1"),
        (BEFORE.replace("float[N, 3] y", "float[1, N, 3] y").replace("float slope =", "float[1, 1, 1] slope ="),
         "raises the rank"),
    ],
)  # fmt: skip
def test_leaves_other_bends(text, because):
    assert_leaves(FuseLeakyRelu(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3))
        slope = around.constant(np.array(around.choose(0.1, 0.5, 2.0, -0.5), "f"))
        scaled = around.op("Mul", x, slope)
        around.choose(
            lambda: around.op("Max", x, scaled),
            lambda: around.op("Where", around.op("Greater", x, around.constant(np.array(0, "f"))), x, scaled),
        )()

    check_surroundings(FuseLeakyRelu(), build, examples=40, least_hits=0.1)
