import numpy as np
import pytest

from npuopt.passes.lower.lower_mod import LowerMod
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[8] x, float[8] y) => (float[8] z) {z = Mod<fmod = 1>(x, y)}"


def test_becomes_a_division_taken_back():
    assert_rewrites(
        LowerMod(),
        BEFORE,
        """(float[8] x, float[8] y) => (float[8] z) <float zero = {0}> {
            s = Sign(x) q = Div(x, y) qs = Sign(q) qa = Abs(q) qf = Floor(qa) w = Mul(qs, qf) v = Mul(y, w)
            r = Sub(x, v) d = Mul(r, s) c = Less(d, zero) a = Abs(y) b = Mul(s, a) e = Add(r, b)
            z = Where(c, e, r)
        }""",
        feeds={"y": np.array([2, -2, 0.5, 3, -7, 1, 0.25, 10], "f")},
    )


def test_a_quotient_rounded_up_gives_one_divisor_back():
    x = np.array([3 * 0.1, -0.3, 0.6, 0.9, -0.9, 1.2, 6, -6], "f") * np.float32(1 - 2**-24)
    assert_rewrites(LowerMod(), BEFORE, None, feeds={"x": x, "y": np.full(8, 0.1, "f")}, seeds=[0])


@pytest.mark.parametrize("fmod", [0, 1])
@pytest.mark.parametrize("kind", ["int32", "int8", "uint8"])
def test_integers_of_every_sign(fmod, kind):
    text = f"({kind}[12] x, {kind}[12] y) => ({kind}[12] z) {{z = Mod<fmod = {fmod}>(x, y)}}"
    x, y = np.array([7, -7, 7, -7, 6, -6, 6, -6, 0, 0, 127, -127]), np.array([3, 3, -3, -3, 3, 3, -3, -3, 5, -5, 2, 2])
    if kind == "uint8":
        x, y = abs(x), abs(y)
    assert_rewrites(LowerMod(), text, None, feeds={"x": x.astype(kind), "y": y.astype(kind)}, seeds=[0])


def test_leaves_floats_without_a_rest_of_their_own():
    assert_leaves(LowerMod(), BEFORE.replace("fmod = 1", "fmod = 0"), because="fmod is 0")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        divisor = around.constant(np.array(around.choose(0.5, -2.0, 4.0), dtype=np.float32))
        around.op("Mod", around.op("Neg", around.input(2, 3)), divisor, fmod=1)

    check_surroundings(LowerMod(), build, examples=12, least_hits=0.9)
