import numpy as np
import pytest

from npuopt.passes.lower.lower_dynamic_products import LowerDynamicProducts
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

HEADER = '<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]> g'
WEIGHTS = "uint8[4, 3] w = {0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 255}"
SIGNATURE = f"""{HEADER} (float[2, 4] x, float[3] b) => (float[2, 3] y)
    <{WEIGHTS}, float s = {{0.5}}, uint8 z = {{100}}, float[3] t = {{0.5, 0.25, 0.125}}, uint8[3] u = {{0, 100, 255}}"""


def test_a_product_of_what_is_quantized_at_run_time():
    assert_rewrites(
        LowerDynamicProducts(),
        f"{SIGNATURE}> {{y = com.microsoft.DynamicQuantizeMatMul(x, w, s, z, b)}}",
        f"""{SIGNATURE}> {{
            q, a, o = DynamicQuantizeLinear(x) l = DequantizeLinear(q, a, o) r = DequantizeLinear(w, s, z)
            p = MatMul(l, r) y = Add(p, b)
        }}""",
        tolerance=1e-4,
    )


@pytest.mark.parametrize(
    "node",
    [
        "DynamicQuantizeMatMul(x, w, t, u)",
        "DynamicQuantizeMatMul(x, w, t)",
        "MatMulIntegerToFloat(a, w, s, t, z, u, b)",
        "MatMulIntegerToFloat(a, w, s, s)",
        "MatMulIntegerToFloat(a, w, o, s, v, z)",
    ],
)
def test_other_forms(node):
    text = SIGNATURE.replace("float[3] b)", "float[3] b, uint8[2, 4] a)")
    text = f"{text}, float[1] o = {{0.5}}, uint8[1] v = {{3}}> {{y = com.microsoft.{node}}}"
    assert_rewrites(LowerDynamicProducts(), text, None, tolerance=1e-4)


@pytest.mark.parametrize(
    ("node", "because"),
    [
        ("DynamicQuantizeMatMul(x, w, t, z)", "another shape than its scale"),
        ("MatMulIntegerToFloat(a, w, t, t)", "several scales"),
    ],
)
def test_leaves_other_forms(node, because):
    text = SIGNATURE.replace("float[3] b)", "float[3] b, uint8[2, 4] a)")
    assert_leaves(LowerDynamicProducts(), f"{text}> {{y = com.microsoft.{node}}}", because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 4))
        weight = around.constant(np.arange(12, dtype=np.uint8).reshape(4, 3) * 20)
        size = around.choose((), (3,))
        scale = around.constant(np.full(size, 0.25, np.float32))
        made = around.op("DynamicQuantizeMatMul", x, weight, scale, domain="com.microsoft", company=False)
        around.op("Abs", around.declare(made, 2, 3))

    check_surroundings(LowerDynamicProducts(), build, least_hits=0.9, tolerance=1e-4)
