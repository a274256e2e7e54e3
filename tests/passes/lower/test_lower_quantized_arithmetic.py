import numpy as np
import pytest

from npuopt.passes.lower.lower_quantized_arithmetic import DOMAIN, LowerQuantizedArithmetic
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

HEADER = '<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]> g'
CONSTANTS = "float s = {0.5}, uint8 z = {100}, float t = {0.25}, uint8 w = {9}, float r = {0.125}, uint8 v = {3}"


def test_an_addition_in_floats():
    signature = f"{HEADER} (uint8[2, 3] a, uint8[3] b) => (uint8[2, 3] y) <{CONSTANTS}>"
    assert_rewrites(
        LowerQuantizedArithmetic(),
        f"{signature} {{y = com.microsoft.QLinearAdd(a, s, z, b, t, w, r, v)}}",
        f"""{signature} {{
            p = DequantizeLinear(a, s, z) q = DequantizeLinear(b, t, w) c = Add(p, q) y = QuantizeLinear(c, r, v)
        }}""",
    )


@pytest.mark.parametrize(
    "node",
    [
        "Mul(a, s, z, b, t, w, r, v)",
        "LeakyRelu<alpha = 0.5>(a, s, z, r, v)",
        "Sigmoid(a, s, z, r, v)",
        "Concat<axis = 2>(r, v, a, s, z, b, t, w, a, t, w)",
        "GlobalAveragePool(a, s, z, r, v)",
        "AveragePool<kernel_shape = [1, 3], pads = [0, 1, 0, 1]>(a, s, z, r, v)",
        "Softmax<axis = -1, opset = 13>(a, s, z, r, v)",
    ],
)
def test_the_other_operators(node):
    signature = f"{HEADER} (uint8[2, 3, 2, 2] a, uint8[2, 3, 2, 2] b) => (uint8[2, C, H, W] y) <{CONSTANTS}>"
    assert_rewrites(LowerQuantizedArithmetic(), f"{signature} {{y = com.microsoft.QLinear{node}}}", None)


def test_a_choice_keeps_its_condition():
    signature = f"{HEADER} (bool[2, 1] c, uint8[2, 3] a, uint8[3] b) => (uint8[2, 3] y) <{CONSTANTS}>"
    assert_rewrites(
        LowerQuantizedArithmetic(),
        f"{signature} {{y = com.microsoft.QLinearWhere(c, a, s, z, b, t, w, r, v)}}",
        f"""{signature} {{
            p = DequantizeLinear(a, s, z) q = DequantizeLinear(b, t, w) d = Where(c, p, q) y = QuantizeLinear(d, r, v)
        }}""",
    )


@pytest.mark.parametrize(("attributes", "axes"), [("axes = [1], keepdims = 0", "a1"), ("keepdims = 1", "")])
def test_a_mean_which_no_runtime_computes(attributes, axes):
    signature = f"{HEADER} (int8[2, 3] a) => (int8[P, Q] y) <float s = {{0.5}}, float r = {{0.125}}>"
    signature = signature.replace("P, Q", "2" if axes else "1, 1")
    mean = f"ReduceMean<keepdims = {attributes[-1]}>(p{', axes' if axes else ''})"
    assert_rewrites(
        LowerQuantizedArithmetic(),
        f"{signature} {{y = com.microsoft.QLinearReduceMean<{attributes}>(a, s, , r)}}",
        f"""{signature.replace("<float", "<int64[1] axes = {1}, float" if axes else "<float")}
            {{p = DequantizeLinear(a, s) m = {mean} y = QuantizeLinear<output_dtype = 3>(m, r)}}""",
        seeds=(),
    )


def test_leaves_channels_that_come_last_and_old_softmaxes():
    signature = f"{HEADER} (uint8[2, 3, 2, 2] a) => (uint8[A, B, C, D] y) <{CONSTANTS}>"
    pool = "GlobalAveragePool<channels_last = 1>(a, s, z, r, v)"
    assert_leaves(LowerQuantizedArithmetic(), f"{signature} {{y = com.microsoft.QLinear{pool}}}", because="come last")
    softmax = "Softmax<axis = 1, opset = 12>(a, s, z, r, v)"
    assert_leaves(LowerQuantizedArithmetic(), f"{signature} {{y = com.microsoft.QLinear{softmax}}}", because="opset 12")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        values = (np.float32(0.5), np.float32(0.37), np.uint8(7))  # no result is halfway between two levels
        scale, level, zero = (around.constant(np.array(value), varies=False) for value in values)
        a, b = around.input(2, 3, dtype="uint8"), around.input(3, dtype="uint8")
        operator = DOMAIN.split("::")[1] + around.choose("Add", "Mul")
        made = around.op(operator, a, scale, zero, b, scale, zero, level, zero, domain="com.microsoft", company=False)
        around.op("Identity", around.declare(made, 2, 3, dtype="uint8"))

    check_surroundings(LowerQuantizedArithmetic(), build, least_hits=0.9)
