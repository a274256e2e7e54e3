import pytest

from npuopt.passes.quantize.insert_dynamic_quantization import InsertDynamicQuantization
from support.rewrites import assert_leaves, assert_rewrites

WEIGHT = "int8[4,2] w = {1, -2, 3, 4, 127, -127, 0, 5}, float[2] s = {0.5, 0.25}"


def product(dequantize, constants, kind="float"):
    return f"({kind}[3,4] x) => ({kind}[3,2] y) <{constants}> {{v = {dequantize} y = MatMul(x, v)}}"


@pytest.mark.parametrize("points", ["", ", int8[2] z = {0, 0}"])
def test_a_product_finds_the_range_of_its_data_as_it_runs(points):
    call = "DequantizeLinear<axis = 1>(w, s, z)" if points else "DequantizeLinear<axis = 1>(w, s)"
    assert_rewrites(
        InsertDynamicQuantization(),
        product(call, WEIGHT + points),
        f"""(float[3,4] x) => (float[3,2] y) <{WEIGHT}{points}>
        {{q, t, o = DynamicQuantizeLinear(x) i = MatMulInteger(q, w, o) u = Mul(t, s)
          f = Cast<to = 1>(i) y = Mul(f, u)}}"""
        if not points
        else None,
        tolerance=0.02,
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (product("DequantizeLinear<axis = 1>(w, s, z)", WEIGHT + ", int8[2] z = {0, 1}"), "has zero points"),
        (product("DequantizeLinear<axis = 1>(w, s, z)", WEIGHT.replace("int8", "uint8").replace("-", "")
                 + ", uint8[2] z = {0, 0}"), "no constant of int8"),
        (product("DequantizeLinear<axis = 0>(w, s)", "int8[4,2] w = {1, -2, 3, 4, 127, -127, 0, 5},"
                 " float[4] s = {1, 1, 1, 1}"), "no scale for each channel"),
        (product("DequantizeLinear<axis = 0, block_size = 2>(w, s)", "int8[4,2] w = {1, -2, 3, 4, 127, -127, 0, 5},"
                 " float[2,2] s = {1, 1, 1, 1}"), "scales of blocks"),
        ("(float[3,4] x, float[4,2] w) => (float[3,2] y) {y = MatMul(x, w)}", None),
    ],
)  # fmt: skip
def test_what_stays(text, why):
    assert_leaves(InsertDynamicQuantization(), text, because=why)
