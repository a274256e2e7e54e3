import pytest

from npuopt.passes.quantize.fuse_quantized_operators import FuseQuantizedOperators
from support.rewrites import assert_leaves, assert_rewrites

CONTRIB = '<ir_version: 12, opset_import: ["" : 24, "com.microsoft" : 1]> g '
ENCODINGS = "float s = {0.5}, uint8 z = {3}, float t = {2}, uint8 o = {100}"
WEIGHT = "int8[2,2] w = {1, -2, 3, 4}, float[2] c = {0.5, 0.25}, int8[2] n = {0, 0}"
BIAS = "int32[2] b = {7, -9}, float[2] d = {0.25, 0.125}, int32[2] m = {0, 0}"


def between(body, interface="(uint8[2,2] x) => (uint8[2,2] y)", more=""):
    return f"""{interface} <{ENCODINGS}{more}>
    {{a = DequantizeLinear(x, s, z) {body} y = QuantizeLinear(h, t, o)}}"""


def test_a_product_with_weights_by_channel():
    assert_rewrites(
        FuseQuantizedOperators(),
        between("v = DequantizeLinear<axis = 1>(w, c, n) h = MatMul(a, v)", more=f", {WEIGHT}"),
        f"(uint8[2,2] x) => (uint8[2,2] y) <{ENCODINGS}, {WEIGHT}> {{y = QLinearMatMul(x, s, z, w, c, n, t, o)}}",
        tolerance=0,
    )


def test_a_product_with_a_bias():
    assert_rewrites(
        FuseQuantizedOperators(),
        between(
            "v = DequantizeLinear<axis = 1>(w, c, n) e = DequantizeLinear<axis = 0>(b, d, m) h = Gemm(a, v, e)",
            more=f", {WEIGHT}, {BIAS}",
        ),
        f"""{CONTRIB}(uint8[2,2] x) => (uint8[2,2] y) <{ENCODINGS}, {WEIGHT}, {BIAS}>
        {{y = com.microsoft.QGemm(x, s, z, w, c, n, b, t, o)}}""",
        tolerance=0,
    )


def test_a_convolution_keeps_its_attributes():
    filters = "int8[2,1,1,1] w = {5, -6}, float[2] c = {0.5, 0.25}, int8[2] n = {0, 0}"
    interface = "(uint8[1,1,3,3] x) => (uint8[1,2,2,2] y)"
    assert_rewrites(
        FuseQuantizedOperators(),
        between(
            """v = DequantizeLinear<axis = 0>(w, c, n) e = DequantizeLinear<axis = 0>(b, d, m)
            h = Conv<strides = [2, 2]>(a, v, e)""",
            interface,
            f", {filters}, {BIAS}",
        ),
        f"""{interface} <{ENCODINGS}, {filters}, {BIAS}>
        {{y = QLinearConv<strides = [2, 2]>(x, s, z, w, c, n, t, o, b)}}""",
        tolerance=0,
    )


@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_two_activations(op):
    interface = "(uint8[2,2] x, uint8[2,2] w) => (uint8[2,2] y)"
    assert_rewrites(
        FuseQuantizedOperators(),
        between(f"v = DequantizeLinear(w, t, o) h = {op}(a, v)", interface),
        f"{CONTRIB}{interface} <{ENCODINGS}> {{y = com.microsoft.QLinear{op}(x, s, z, w, t, o, t, o)}}",
        tolerance=0.01,
    )


@pytest.mark.parametrize(("op", "attributes"), [("Sigmoid", ""), ("LeakyRelu", "<alpha = 0.25>")])
def test_functions_of_one_activation(op, attributes):
    assert_rewrites(
        FuseQuantizedOperators(),
        between(f"h = {op}{attributes}(a)"),
        f"{CONTRIB}(uint8[2,2] x) => (uint8[2,2] y) <{ENCODINGS}>"
        f"{{y = com.microsoft.QLinear{op}{attributes}(x, s, z, t, o)}}",
        tolerance=0.01,
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (between("h = Add(a, f)", "(uint8[2,2] x, float[2,2] f) => (uint8[2,2] y)"), "one of its operands is in float"),
        (between("h = Mul(a, a)", "(uint8[2,2] x) => (uint8[2,2] y, float[2,2] h)"), "its result is read in float"),
        (
            between("v = DequantizeLinear(w, s) h = Add(a, v)", "(uint8[2,2] x, uint8[2,2] w) => (uint8[2,2] y)"),
            "has no zero point",
        ),
        (
            between("v = DequantizeLinear(w, s, n) h = Add(a, v)", more=", int8[2,2] w = {1, 2, 3, 4}, int8 n = {0}"),
            "not all signed or all unsigned",
        ),
        (
            between(
                "v = DequantizeLinear(w, s, n) h = MatMul(a, v)", more=", int16[2,2] w = {1, 2, 3, 4}, int16 n = {0}"
            ),
            "other than 8 bits",
        ),
        (
            between(
                "v = DequantizeLinear<axis = 1>(w, c, n) e = DequantizeLinear<axis = 0>(b, d, m) h = Gemm(a, v, e)",
                more=f", {WEIGHT}, {BIAS.replace('0.125', '0.5')}",
            ),
            "another scale than the product",
        ),
        (
            between("v = DequantizeLinear<axis = 1>(w, c, n) h = Gemm<transA = 1>(a, v)", more=f", {WEIGHT}"),
            "its first operand transposed",
        ),
        ("(float[2,2] x) => (float[2,2] y) {y = Add(x, x)}", None),
    ],
)
def test_what_stays(text, why):
    assert_leaves(FuseQuantizedOperators(), text, because=why)
