"""Questions about nodes and values that passes rely on."""

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from npuopt.graph import (
    Editor,
    attribute,
    attribute_list,
    constant,
    dims,
    graphs_of,
    has_one_use,
    infer_shapes,
    input_at,
    integers,
    is_constant,
    is_op,
    label,
    nodes,
    only_user,
    opset,
    parse,
    producer,
    rank,
    scalar,
    static_shape,
    users,
)

HEADER = '<ir_version: 12, opset_import: ["" : 24, "com.example" : 1]>\n'
MODEL = """g (float[N,4] x, bool c, float[4] default) => (float[N,4] y)
  <float[4] default = {0, 0, 0, 0}, float[4] w = {1, 2, 3, 4}, float half = {0.5}, int64[2] shape = {-1, 4}> {
    [neg] t = Neg(x)
    s = Add(t, w)
    u = Clip(s, , half)
    v = com.example.Neg(u)
    r = Reshape<allowzero = 1>(v, shape)
    y = If(c) <then_branch = a () => (float[N,4] p) { [inner] p = Neg(t) },
               else_branch = b () => (float[N,4] q) { q = Mul(r, default) }>
}"""


@pytest.fixture
def model():
    parsed = parse(HEADER + MODEL)
    infer_shapes(parsed)
    return parsed


@pytest.fixture
def value(model):
    named = {output.name: output for node in nodes(model) for output in node.outputs}
    named |= {item.name: item for item in model.graph.inputs} | dict(model.graph.initializers)
    return named.__getitem__


def test_nodes_come_in_order_with_those_of_subgraphs_and_only_standard_ones_by_type(model):
    assert [label(node) for node in nodes(model, "Neg", "Mul")] == ["neg", "inner", "Mul(q)"]
    assert len(nodes(model)) == 8
    assert [graph.name for graph in graphs_of(model)] == ["g", "a", "b"]


def test_a_listing_is_safe_to_edit_by(model):
    edit = Editor(model)
    for node in nodes(model, "Neg"):
        edit.replace_node(node, edit.emit("Abs", list(node.inputs), before=node))
    assert not nodes(model, "Neg")


def test_users_and_producers(value):
    assert [label(node) for node in users(value("t"))] == ["Add(s)", "inner"]
    assert only_user(value("t")) is None
    assert label(only_user(value("s"))) == "Clip(u)"
    assert only_user(value("y")) is None
    assert has_one_use(value("s"))
    assert not has_one_use(value("t"))
    assert producer(value("t"), "Neg", "Abs") is value("t").producer()
    assert producer(value("v"), "Neg") is None  # of another domain
    assert not is_op(producer(value("v")), "Neg")
    assert producer(value("x")) is None
    assert producer(None) is None


def test_inputs_that_are_left_out(value):
    clip = value("u").producer()
    assert [None if item is None else item.name for item in (input_at(clip, i) for i in range(4))] == [
        "s",
        None,
        "half",
        None,
    ]


def test_constants_are_initializers_that_no_caller_can_override(value):
    assert is_constant(value("w"))
    assert not is_constant(value("default"))
    assert not is_constant(value("t"))
    assert not is_constant(None)
    assert constant(value("w")).tolist() == [1, 2, 3, 4]
    assert constant(value("default")) is None
    assert scalar(value("half")) == 0.5
    assert scalar(value("w")) is None
    assert integers(value("shape")) == [-1, 4]
    assert integers(value("w")) is None


@pytest.mark.parametrize(
    "dtype", [np.float16, np.int8, np.bool_, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4]
)
def test_scalars_of_any_numeric_type(model, dtype):
    one = Editor(model).constant(np.ones((1, 1), dtype), near=nodes(model)[0])
    assert scalar(one) == 1.0


def test_a_scalar_of_text_is_none(model):
    text = ir.Value(name="text", const_value=ir.StringTensor([b"a"], shape=ir.Shape([])))
    assert scalar(text) is None


def test_attributes(value):
    reshape = value("r").producer()
    assert attribute(reshape, "allowzero", 0) == 1
    assert attribute(reshape, "missing", "default") == "default"
    assert attribute_list(reshape, "missing", (1, 2)) == [1, 2]


def test_shapes(value):
    assert dims(value("t")) == ("N", 4)
    assert (rank(value("t")), rank(None), rank(value("v"))) == (2, None, None)
    assert static_shape(value("t")) is None
    assert static_shape(value("w")) == (4,)
    assert dims(value("v")) is None


def test_opset(model):
    assert opset(model) == 24
