import numpy as np
import pytest

from npuopt.passes.lower.lower_dynamic_quantize_linear import LowerDynamicQuantizeLinear
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[N] x) => (uint8[N] y, float s, uint8 z) {y, s, z = DynamicQuantizeLinear(x)}"


def test_the_extremes_and_what_follows_from_them():
    after = """(float[N] x) => (uint8[N] y, float s, uint8 z) <float zero = {0}, float most = {255}, float one = {1}> {
        a = ReduceMin<keepdims = 0>(x) low = Min(a, zero) b = ReduceMax<keepdims = 0>(x) high = Max(b, zero)
        range = Sub(high, low) width = Div(range, most) e = Equal(width, zero) s = Where(e, one, width)
        q = Div(low, s) n = Neg(q) r = Round(n) f = Clip(r, zero, most)
        d = Div(x, s) l = Round(d) v = Add(l, f) c = Clip(v, zero, most) y = Cast<to = 2>(c) z = Cast<to = 2>(f)
    }"""
    assert_rewrites(LowerDynamicQuantizeLinear(), BEFORE, after)


@pytest.mark.parametrize("values", [[0, 0], [1, 3], [-3, -1], [-1e-30, 1e-30], [0.5, 1.5]])
def test_ranges_that_do_not_hold_zero_or_are_none(values):
    assert_rewrites(LowerDynamicQuantizeLinear(), BEFORE, None, feeds={"x": np.array(values, np.float32)}, seeds=[0])


def test_leaves_the_static_quantization():
    text = "(float[N] x) => (uint8[N] y) <float s = {0.5}, uint8 z = {3}> {y = QuantizeLinear(x, s, z)}"
    assert_leaves(LowerDynamicQuantizeLinear(), text, because=None)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.ops(
            "DynamicQuantizeLinear", around.op("Neg", around.input(*around.choose((3, 4), (7,), (1,)))), outputs=3
        )

    check_surroundings(LowerDynamicQuantizeLinear(), build, least_hits=0.9)
