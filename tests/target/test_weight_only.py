"""Schemes that hold weights as integers and compute in float."""

import pytest

from npuopt.errors import InputError, UsageError
from npuopt.target import load_target
from support.descriptors import target_with

SCHEMES = """schemes: {
  w4: {activation: float32, weight: int4, weight_axis: block, weight_block: 32},
  fp32: {activation: float32},
  a8w8: {activation: uint8, weight: int8},
}"""


def test_they_are_computed_in_the_float_scheme_beneath():
    target = target_with("{MatMul: {schemes: [fp32, w4]}, Relu: {schemes: [fp32]}}", schemes=SCHEMES)
    assert target.float_scheme == "fp32"
    assert [target.computed_in(name) for name in ("w4", "fp32", "a8w8")] == ["fp32", "fp32", "a8w8"]
    with pytest.raises(UsageError, match="no scheme 'w5'"):
        target.computed_in("w5")


def test_a_weight_type_that_nobody_computes_with_in_float_is_refused():
    with pytest.raises(InputError, match="held in int4, uint4, int8, uint8, not int32"):
        target_with("{Relu: {schemes: [w]}}", schemes="schemes: {w: {activation: float32, weight: int32}}")


def test_onnx_runtime_has_its_schemes():
    target = load_target("host/onnxruntime")
    held = {name for name, scheme in target.schemes.items() if scheme.is_weight_only}
    assert {"w8", "w8b32", "w4", "w4a", "w4b16", "w4b64", "w4b128", "w4c"} <= held
    assert not held & {"fp32", "a8w8", "s8w8"}
