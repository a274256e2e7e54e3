import numpy as np
import pytest

from npuopt.passes.fuse.fuse_prelu import FusePrelu
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SLOPES = "float[3, 1] slopes = {0.25, 0.5, 0}"
SIGNATURE = f"(float[N, 3, 4] x) => (float[N, 3, 4] y) <{SLOPES}, float zero = {{0}}"
FORMULA = "p = Relu(x) n = Neg(x) r = Relu(n) a = Mul(slopes, r)"
AFTER = f"{SIGNATURE}, float[3, 1] own = {{0.25, 0.5, 0}}> {{y = PRelu(x, own)}}"


@pytest.mark.parametrize(
    "formula", [f"{FORMULA} y = Sub(p, a)", "a = Mul(x, slopes) y = Max(a, x)", f"{FORMULA} b = Neg(a) y = Add(p, b)"]
)
def test_a_slope_for_each_channel(formula):
    assert_rewrites(FusePrelu(), f"{SIGNATURE}> {{{formula}}}", AFTER)


def test_slopes_may_be_negated_as_keras_does():
    after = AFTER.replace("own = {0.25, 0.5, 0}", "own = {-0.25, -0.5, -0}")
    assert_rewrites(FusePrelu(), f"{SIGNATURE}> {{{FORMULA} y = Add(p, a)}}", after)


BEFORE = f"{SIGNATURE}> {{{FORMULA} y = Sub(p, a)}}"


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("4] y)", "4] y, float[N, 3, 4] r)"), "'r' is a graph output"),
        (BEFORE.replace(SLOPES, "float slopes = {0.25}"), "has one slope"),
        (BEFORE.replace("N, 3, 4] x", "N, 1, 4] x"), "may stretch 'x'"),
        (BEFORE.replace("N, 3, 4] x", "N, K, 4] x").replace("N, 3, 4] y", "N, L, 4] y"), "may stretch 'x'"),
        (f"{SIGNATURE}> {{a = Mul(x, slopes) y = Max(a, x)}}".replace("0.5", "1.5"), "not all between 0 and 1"),
    ],
)
def test_leaves_other_slopes(text, because):
    assert_leaves(FusePrelu(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 2))
        shape = around.choose((3, 1), (2,), (1, 3, 2), (1, 1, 1), (2, 3, 2))
        slopes = around.constant(np.random.default_rng(0).uniform(0, around.choose(1, 2), shape).astype("f"))
        lonely = around.choose(True, False, False)
        scaled = around.op("Mul", around.op("Relu", around.op("Neg", x, company=False), company=False), slopes)
        around.op("Sub", around.op("Relu", x, company=lonely), scaled)

    check_surroundings(FusePrelu(), build, examples=40, least_hits=0.1)
