import numpy as np
import pytest

from npuopt.passes.lower.lower_lp_normalization import LowerLpNormalization
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = LpNormalization<axis = 1, p = 2>(x)}"


def test_becomes_a_quotient():
    after = """(float[N, 4] x) => (float[N, 4] y) <int64[1] axis = {1}, float tiny = {1.1754943508222875e-38}> {
        s = Mul(x, x) t = ReduceSum<keepdims = 1>(s, axis) r = Sqrt(t) n = Max(r, tiny) y = Div(x, n)
    }"""
    assert_rewrites(LowerLpNormalization(), BEFORE, after)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("kind", ["float", "float16", "double"])
def test_zeros_stay_zeros(p, kind):
    text = f"({kind}[2, 4] x) => ({kind}[2, 4] y) {{y = LpNormalization<p = {p}>(x)}}"
    x = np.array([[0, 0, 0, 0], [0, 1, -2, 0]], {"float": "f4", "float16": "f2", "double": "f8"}[kind])
    if kind != "float16":  # for which ONNX Runtime has no kernel
        assert_rewrites(LowerLpNormalization(), text, None, feeds={"x": x}, seeds=[0])


def test_leaves_a_type_without_a_known_least_number():
    text = BEFORE.replace("float[", "bfloat16[")
    assert_leaves(LowerLpNormalization(), text, because="BFLOAT16 is not known")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 4))
        around.op("LpNormalization", x, axis=around.choose(-1, 0, 1), p=around.choose(1, 2))

    check_surroundings(LowerLpNormalization(), build, examples=12, least_hits=0.9)
