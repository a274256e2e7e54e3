"""Small invented descriptors, and nodes to ask them about."""

from npuopt.graph import infer_shapes, nodes, parse
from npuopt.target import parse_target

HEAD = """
name: toy/chip
title: Toy
source: invented
delegate: {road: tvm, triple: none, cpu: none}
"""
SCHEMES = """
schemes:
  fp16: {activation: float16, tensors: [float32, float16]}
  a8w8: {activation: uint8, weight: int8, weight_axis: channel, bias: int32}
  a16w8: {activation: uint16, weight: int8, weight_axis: channel, bias: int32}
"""


def target_with(ops, *, schemes=SCHEMES, shapes="{static: required, max_rank: 5}"):
    """A target with these ops, given as YAML below `ops:` (indented by two) or as `{Op: rule}`."""
    body = f"ops: {ops}" if ops.startswith("{") else f"ops:\n{ops}"
    return parse_target(f"{HEAD}shapes: {shapes}\n{schemes}\n{body}\n")


def first_node(body, inputs="float[1,4,8,8] x", outputs="float[A,B,C,D] y", constants=""):
    """The first node of an ONNX text body, with types and shapes."""
    return node_of("", body, inputs, outputs, constants)


def node_of(op_type, body, inputs="float[1,4,8,8] x", outputs="float[A,B,C,D] y", constants=""):
    """The first node of this type (of any, where empty) in an ONNX text body."""
    domains = '"" : 24, "com.microsoft" : 1'
    model = parse(f"<ir_version: 12, opset_import: [{domains}]> g ({inputs}) => ({outputs}) <{constants}> {{ {body} }}")
    infer_shapes(model)
    return next(node for node in nodes(model) if op_type in ("", node.op_type))
