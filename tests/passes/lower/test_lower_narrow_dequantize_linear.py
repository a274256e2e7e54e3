import ml_dtypes
import numpy as np
import onnx_ir as ir

from npuopt.graph import constant, nodes
from npuopt.passes.lower.lower_narrow_dequantize_linear import LowerNarrowDequantizeLinear
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[2] x) => (float[2] y) <float[2] s = {0.5, 2}, int8[2] w = {-8, 7}, int8[2] z = {1, -2}"
BEFORE = f"{SIGNATURE}> {{d = DequantizeLinear<axis = 0>(w, s, z) y = Add(d, x)}}"


def narrow(text):
    """Read the int8 constants w and z as int4, which ONNX text cannot write."""
    model = model_from(text)
    for name in ("w", "z"):
        value = model.graph.initializers[name]
        value.const_value = ir.tensor(constant(value).astype(ml_dtypes.int4), name=name)
        value.type = ir.TensorType(ir.DataType.INT4)
    return model


def test_four_bits_become_eight():
    model = narrow(BEFORE)
    report = assert_rewrites(LowerNarrowDequantizeLinear(), model, None)
    assert report.changed[0].text == "became DequantizeLinear"
    weight, _, zero = nodes(model, "DequantizeLinear")[0].inputs
    assert [(constant(value).dtype, constant(value).tolist()) for value in (weight, zero)] == [
        (np.int8, [-8, 7]),
        (np.int8, [1, -2]),
    ]


def test_leaves_wide_types_and_values_of_run_time():
    assert_leaves(LowerNarrowDequantizeLinear(), BEFORE, because=None)
    runtime = "(int4[2] w, float s) => (float[2] y) {y = DequantizeLinear(w, s)}"
    assert_leaves(LowerNarrowDequantizeLinear(), runtime, because="not constant")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        kind = around.choose(ml_dtypes.int4, ml_dtypes.uint4)
        weight = around.constant(np.arange(6).reshape(2, 3).astype(kind), varies=False)
        scale = around.constant(np.array(0.5, "f"))
        around.op("Add", around.op("DequantizeLinear", weight, scale), around.input(2, 3))

    check_surroundings(LowerNarrowDequantizeLinear(), build, least_hits=0.9)
