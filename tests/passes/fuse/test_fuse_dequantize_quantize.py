import numpy as np
import pytest

from npuopt.passes.fuse.fuse_dequantize_quantize import FuseDequantizeQuantize
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = """<float s = {0.1}, float same = {0.1}, float other = {0.2}, uint8 z = {3}, uint8 zero = {0},
    float[3] rows = {0.1, 0.2, 0.3}, uint8[3] zeros = {0, 1, 2}>"""
SIGNATURE = f"(float[N, 3] x) => (uint8[N, 3] y) {CONSTANTS}"
FIRST = "q = QuantizeLinear(x, s, z) a = Identity(q)"
BEFORE = f"{SIGNATURE} {{{FIRST} d = DequantizeLinear(a, s, z) y = QuantizeLinear(d, same, z)}}"


def test_what_is_taken_back_disappears():
    assert_rewrites(FuseDequantizeQuantize(), BEFORE, f"{SIGNATURE} {{q = QuantizeLinear(x, s, z) y = Identity(q)}}")


def test_a_zero_point_left_out_is_zero():
    first = "q = QuantizeLinear(x, s, zero) a = Identity(q) d = DequantizeLinear(a, s)"
    before = f"{SIGNATURE} {{{first} y = QuantizeLinear(d, s, zero)}}"
    after = f"{SIGNATURE} {{q = QuantizeLinear(x, s, zero) y = Identity(q)}}"
    assert_rewrites(FuseDequantizeQuantize(), before, after)


def test_a_dequantized_value_that_is_read_elsewhere_stays():
    signature = SIGNATURE.replace("3] y)", "3] y, float[N, 3] d)")
    before = BEFORE.replace(SIGNATURE, signature)
    after = f"{signature} {{q = QuantizeLinear(x, s, z) y = Identity(q) d = DequantizeLinear(y, s, z)}}"
    assert_rewrites(FuseDequantizeQuantize(), before, after)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("(d, same, z)", "(d, other, z)"), "scale or zero point is another"),
        (BEFORE.replace("(d, same, z)", "(d, same, zero)"), "scale or zero point is another"),
        (BEFORE.replace("3] x", "3] x, float same").replace("float same = {0.1}, ", ""), "or not known"),
        (BEFORE.replace("(d, same, z)", "<output_dtype = 3>(d, same)").replace("uint8[N, 3] y", "int8[N, 3] y"),
         "makes INT8 of UINT8"),
        (f"""(uint8[3, 3] x) => (uint8[3, 3] y) {CONSTANTS}
            {{d = DequantizeLinear<axis = 0>(x, rows, zeros) y = QuantizeLinear<axis = 1>(d, rows, zeros)}}""",
         "axis or block is another"),
        (f"(float[N] x) => (float[N] y) {CONSTANTS} {{{FIRST} y = DequantizeLinear(a, s, z)}}", None),
    ],
)  # fmt: skip
def test_leaves_what_rounds(text, because):
    assert_leaves(FuseDequantizeQuantize(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        kind = around.choose("uint8", "int8")
        x = around.op("Max", around.input(2, 3, dtype=kind))
        scale, zero = np.array(around.choose(0.1, 3e-5, 7.0), "f"), np.array(around.choose(0, 5), kind)
        first = [around.constant(scale, varies=False), around.constant(zero, varies=False)]
        second = first if around.choose(True, False) else [around.constant(scale), around.constant(zero)]
        around.op("QuantizeLinear", around.op("DequantizeLinear", x, *first), *second)

    check_surroundings(FuseDequantizeQuantize(), build, examples=40, least_hits=0.3)
