"""In which order a compiler that goes depth first runs a small graph."""

from dataclasses import replace

from npuopt.graph import infer_shapes, parse
from npuopt.partition import partition
from npuopt.partition.order import depth_first
from npuopt.target import parse_target

CHIP = """
name: toy/chip
title: Toy
source: invented
delegate: {road: tvm, triple: none, cpu: none}
schemes: {fp32: {activation: float32}}
ops:
  Relu: {schemes: [fp32]}
  Add: {schemes: [fp32]}
  Concat: {schemes: [fp32]}
"""


def region(body, outputs="float[8] y"):
    model = parse(f'<ir_version: 12, opset_import: ["" : 24]> g (float[8] x) => ({outputs}) {{ {body} }}')
    infer_shapes(model)
    (part,) = partition(model, parse_target(CHIP), "fp32", min_nodes=1, min_macs=0).regions
    return part


def order(part):
    return [node.outputs[0].name for node in depth_first(part)]


def test_a_branch_runs_to_its_end_and_that_of_the_last_operand_first():
    part = region("a = Relu(x) b = Relu(x) c = Relu(a) d = Relu(b) y = Add(c, d)")
    assert order(part) == ["b", "d", "a", "c", "y"]


def test_pieces_of_a_concat_come_in_order():
    part = region("a = Relu(x) b = Relu(x) c = Relu(a) d = Relu(b) y = Concat<axis = 0>(d, c)", "float[16] y")
    assert order(part) == ["b", "d", "a", "c", "y"]


def test_what_two_branches_need_runs_once():
    assert order(region("a = Relu(x) b = Relu(a) c = Relu(a) y = Add(c, b)")) == ["a", "b", "c", "y"]


def test_what_no_output_needs_comes_last():
    part = region("a = Relu(x) z = Relu(a) y = Relu(a)", "float[8] z, float[8] y")
    assert order(replace(part, output_values=part.output_values[1:])) == ["a", "y", "z"]
