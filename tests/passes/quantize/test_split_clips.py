import numpy as np
import pytest

from npuopt.passes.quantize.split_clips import SplitClips
from npuopt.target import parse_target
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def chip(*, saturates: bool = True):
    return parse_target(f"""
name: test/saturating
title: A chip whose compiler leaves Clip to the saturation of its result
delegate: {{road: ort}}
schemes: {{a8w8: {{activation: uint8, weight: int8, weight_axis: channel, bias: int32}}}}
ops: {{Clip: {{schemes: [a8w8], quantization: {{saturates: {str(saturates).lower()}}}}}}}
""")


def clipped(low: str, high: str, zero_point: int) -> str:
    """Clip between uint8 in steps of 0.1."""
    return f"""(float[4] x) => (float[4] y)
    <float s = {{0.1}}, uint8 z = {{{zero_point}}}, float l = {{{low}}}, float h = {{{high}}}>
    {{q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) c = Clip(d, l, h)
     r = QuantizeLinear(c, s, z) y = DequantizeLinear(r, s, z)}}"""


FEEDS = {"x": np.array([-9, 0.5, 3, 25], np.float32)}


def test_integers_that_go_further_than_the_upper_bound():
    assert_rewrites(
        SplitClips(),
        clipped("0", "6", 0),
        """(float[4] x) => (float[4] y)
        <float s = {0.1}, uint8 z = {0}, float t = {0.023529412}, uint8 h = {255}, uint8 n = {0},
         float low = {0}, float high = {6}>
        {q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) k = DequantizeLinear(h, t, n) c = Min(d, k)
         r = QuantizeLinear(c, s, z) y = DequantizeLinear(r, s, z)}""",
        target=chip(),
        feeds=FEEDS,
        tolerance=1e-6,
    )


def test_integers_that_go_further_at_both_ends_are_rounded_between():
    assert_rewrites(
        SplitClips(),
        clipped("-1", "6", 100),
        """(float[4] x) => (float[4] y)
        <float s = {0.1}, uint8 z = {100}, float t = {0.003921569}, uint8 m = {255}, uint8 n = {0},
         float u = {0.023529412}, uint8 o = {255}, uint8 p = {0}, float v = {0.1}, uint8 w = {100},
         float low = {-1}, float high = {6}>
        {q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
         l = DequantizeLinear(n, t, m) a = Max(d, l) b = QuantizeLinear(a, v, w) e = DequantizeLinear(b, v, w)
         h = DequantizeLinear(o, u, p) c = Min(e, h) r = QuantizeLinear(c, s, z) y = DequantizeLinear(r, s, z)}""",
        target=chip(),
        feeds=FEEDS,
        tolerance=1e-6,
    )


READ_TWICE = """(float[4] x) => (float[4] y, float[4] w)
    <float s = {0.1}, uint8 z = {0}, float l = {0}, float h = {6}>
    {q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) c = Clip(d, l, h) w = Neg(c)
     r = QuantizeLinear(c, s, z) y = DequantizeLinear(r, s, z)}"""


@pytest.mark.parametrize(
    ("text", "target"),
    [
        pytest.param(clipped("0", "25.5", 0), chip(), id="the integers end at the bounds"),
        pytest.param(clipped("-20", "30", 100), chip(), id="they end before them"),
        pytest.param(clipped("0", "6", 0), chip(saturates=False), id="the chip clips"),
        pytest.param(clipped("0", "6", 0), None, id="no chip"),
        pytest.param("(float[4] x) => (float[4] y) <float h = {6}> {y = Clip(x, , h)}", chip(), id="floats"),
        pytest.param(READ_TWICE, chip(), id="floats read it too"),
    ],
)
def test_leaves(text, target):
    assert_leaves(SplitClips(), text, target=target, because=None)


def test_numbers_in_any_surroundings():
    class ForChip(SplitClips):
        def __call__(self, model, target=None):
            return SplitClips()(model, chip())

    def build(around: Surroundings) -> None:
        scale, zero = around.constant(np.float32(0.05), varies=False), around.constant(np.uint8(128), varies=False)
        quantized = around.op("QuantizeLinear", around.input(2, 3), scale, zero)
        data = around.op("DequantizeLinear", quantized, scale, zero)
        bounds = [around.constant(np.float32(bound), varies=False) for bound in (-0.5, 0.75)]
        cut = around.op("Clip", data, *bounds, company=False)
        around.op("DequantizeLinear", around.op("QuantizeLinear", cut, scale, zero), scale, zero)

    check_surroundings(ForChip(), build, tolerance=1e-6)
