"""Operands of products as floats of 8 bits."""

import ml_dtypes
import numpy as np
import pytest

from npuopt.graph import nodes, to_proto
from npuopt.passes.quantize.insert_quantize_dequantize import InsertQuantizeDequantize
from npuopt.quantization import Range, Ranges, encodings_for
from npuopt.quantization.arithmetic import dequantize, quantize
from npuopt.quantization.encodings import Encoding
from npuopt.target import parse_target
from support.numbers import run
from support.rewrites import model_from

CHIP = parse_target("""
name: test/float8
title: A chip for tests
source: invented
delegate: {road: ort}
schemes:
  fp32: {activation: float32}
  f8: {activation: float8e4m3fn, activation_symmetric: true, weight: float8e4m3fn, weight_axis: channel}
ops:
  Add: {schemes: [fp32]}
  Gemm: {schemes: [fp32, f8], quantization: {weights: [1], bias: 2}}
  MatMul: {schemes: [fp32, f8], quantization: {weights: [1]}}
  Relu: {schemes: [fp32]}
""")


def assigned(text, **ranges):
    model = model_from(text)
    seen = {name: Range(*found) for name, found in ranges.items()}
    encodings = encodings_for(model, CHIP, "f8", Ranges(seen, method="minmax"))
    encodings.check(model)
    return model, encodings


GEMM = """(float[1,2] x) => (float[1,2] y) <float[2,2] w = {1, 8, -2, 4}, float[2] b = {0.1, 0.2}>
{a = Relu(x) p = Gemm(a, w, b) y = Relu(p)}"""


def test_operands_are_held_and_biases_and_results_stay_float():
    _, encodings = assigned(GEMM, a=(0, 44.8))
    assert set(encodings.tensors) == {"a", "w"}
    assert encodings.tensors["a"].scale == (pytest.approx(0.1),)
    assert encodings.tensors["w"].scale == pytest.approx([2 / 448, 8 / 448])
    assert encodings.tensors["w"].axis == 1
    assert {encoding.dtype for encoding in encodings.tensors.values()} == {"float8e4m3fn"}


def test_what_others_read_of_an_operand_stays_float():
    model, encodings = assigned(
        """(float[1,2] x) => (float[1,2] y, float[1,2] z) <float[2,2] w = {1, 8, -2, 4}>
        {a = Relu(x) p = MatMul(a, w) y = Add(p, a) z = MatMul(a, w)}""",
        a=(0, 10),
    )
    assert set(encodings.uses) == {"p", "z"}
    InsertQuantizeDequantize(encodings=encodings)(model)
    adding = next(node for node in nodes(model, "Add"))
    assert adding.inputs[1].producer().op_type == "Relu"


def test_the_runtime_computes_what_numpy_does():
    model, encodings = assigned(GEMM, a=(0, 10))
    InsertQuantizeDequantize(encodings=encodings)(model)
    to_proto(model)
    x = np.array([[3.3, 25.0]], np.float32)  # the second saturates
    weight = np.array([[1, 8], [-2, 4]], np.float32)
    scale, scales = np.float32(10 / 448), np.array([2, 8], np.float32) / 448
    data = np.clip(x / scale, -448, 448).astype(ml_dtypes.float8_e4m3fn).astype(np.float32) * scale
    held = (weight / scales).astype(ml_dtypes.float8_e4m3fn).astype(np.float32) * scales
    expected = np.maximum(data @ held + np.array([0.1, 0.2], np.float32), 0)
    np.testing.assert_allclose(run(model, {"x": x})["y"], expected, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "largest"), [("float8e4m3fn", 448), ("float8e5m2", 57344)])
def test_numbers_saturate_and_have_digits_where_integers_have_steps(dtype, largest):
    encoding = Encoding(dtype=dtype, scale=(0.5,), zero_point=(0,))
    assert encoding.range == (-largest / 2, largest / 2)
    numbers = np.array([1e9, -1e9, 0.001, 3.0], np.float32)
    held = dequantize(quantize(numbers, encoding), encoding)
    assert held[:2].tolist() == [largest / 2, -largest / 2]
    np.testing.assert_allclose(held[2:], numbers[2:], rtol=0.07)


def test_there_is_no_zero_point_but_zero():
    with pytest.raises(ValueError, match="has no zero point but 0"):
        Encoding(dtype="float8e4m3fn", scale=(0.5,), zero_point=(3,))
