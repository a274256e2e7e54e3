"""A target that takes three ops, and models for it."""

from npuopt.graph import infer_shapes, parse
from npuopt.target import parse_target

TARGET = parse_target("""
name: toy/chip
title: Toy
source: invented
delegate: {road: tvm, triple: none, cpu: none}
schemes:
  fp32: {activation: float32}
  a8w8: {activation: uint8, weight: int8}
ops:
  MatMul: {schemes: [fp32, a8w8], quantization: {weights: [1]}}
  Relu: {schemes: [fp32, a8w8]}
  Add: {schemes: [fp32, a8w8]}
""")


def model_from(body, inputs="float[4,4] x", outputs="float[4,4] y", constants=""):
    """A model of ONNX text; every value is 4 x 4 unless its op says otherwise."""
    text = f'<ir_version: 12, opset_import: ["" : 24]> g ({inputs}) => ({outputs}) <{constants}> {{ {body} }}'
    model = parse(text)
    infer_shapes(model)
    return model


def where(plan):
    """Op type and place of every node, in graph order."""
    return [(placement.node.op_type, placement.where) for placement in plan.placements]
