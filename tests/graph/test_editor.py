"""The verbs: names that never collide, outputs that stay, uses in subgraphs that count."""

import sys
from types import FrameType

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from npuopt.graph import (
    Editor,
    Model,
    dims,
    graphs_of,
    header_proto,
    infer_shapes,
    label,
    nodes,
    parse,
    static_shape,
    to_text,
    users,
)
from npuopt.pipeline.checks import structural_faults

HEADER = '<ir_version: 12, opset_import: ["" : 24]>\n'

WITH_BRANCHES = """g (float[2,3] x, bool c) => (float[2,3] y) {
    t = Neg(x)
    y = If(c) <then_branch = a () => (float[2,3] p) { p = Relu(t) },
               else_branch = b () => (float[2,3] q) { k = Abs(t)  q = Add(k, t) }>
}"""


def model_of(text: str) -> Model:
    model = parse(HEADER + text)
    infer_shapes(model)
    return model


def op(model: Model, op_type: str) -> ir.Node:
    (node,) = nodes(model, op_type)
    return node


def assert_sound(model: Model) -> None:
    assert structural_faults(model) == []
    onnx.checker.check_model(header_proto(model), full_check=True)


def test_emit_types_and_shapes_its_output_and_stands_ahead_of_the_node():
    model = model_of("g (float[2,3] x) => (float[2,3] y) { t = Neg(x)  y = Relu(t) }")
    relu = op(model, "Relu")
    out = Editor(model).emit("Transpose", [relu.inputs[0]], {"perm": [1, 0]}, before=relu)
    assert (static_shape(out), out.dtype) == ((3, 2), ir.DataType.FLOAT)
    assert [node.op_type for node in model.graph] == ["Neg", "Transpose", "Relu"]
    assert_sound(model)


def test_emit_gives_attributes_the_type_that_the_schema_wants():
    model = model_of("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    relu = op(model, "Relu")
    leaky = Editor(model).emit("LeakyRelu", list(relu.inputs), {"alpha": 1}, before=relu)
    empty = Editor(model).emit("Transpose", list(relu.inputs), {"perm": [], "unset": None}, before=relu)
    assert leaky.producer().attributes["alpha"].type == ir.AttributeType.FLOAT
    assert empty.producer().attributes["perm"].type == ir.AttributeType.INTS
    assert "unset" not in empty.producer().attributes


def test_emit_many_names_every_output():
    model = model_of("g (float[2,4] x) => (float[2,4] y) { y = Relu(x) }")
    relu = op(model, "Relu")
    left, right = Editor(model).emit_many(
        "Split", list(relu.inputs), {"axis": 1, "num_outputs": 2}, before=relu, outputs=2, name="halves"
    )
    assert (static_shape(left), static_shape(right)) == ((2, 2), (2, 2))
    assert left.name != right.name


def test_names_never_collide_with_nodes_values_inputs_or_initializers_of_any_graph():
    text = """g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}> {
        [node] t = Neg(x)
        y = If(c) <then_branch = a () => (float[2] p) <float[2] inner = {1, 2}> { p = Add(t, inner) },
                   else_branch = b () => (float[2] q) { q = Add(t, w) }>
    }"""
    edit = Editor(model_of(text))
    for taken in ("x", "w", "node", "t", "y", "p", "inner", "q"):
        assert edit.fresh_name(taken) == f"{taken}_1"
    assert edit.fresh_name("new") == "new"
    assert edit.fresh_name("new") == "new_1"


def test_a_constant_goes_to_the_graph_of_the_node_it_is_near():
    model = model_of(WITH_BRANCHES)
    relu = op(model, "Relu")
    edit = Editor(model)
    two = edit.constant(np.full(3, 2, np.float32), near=relu)
    relu.replace_input_with(0, edit.emit("Mul", [relu.inputs[0], two], before=relu))
    assert not model.graph.initializers
    assert [list(graph.initializers.values()) for graph in graphs_of(model)][1] == [two]
    assert_sound(model)


def test_replace_moves_every_reader_also_one_that_reads_twice():
    model = model_of("g (float[2] x) => (float[2] y) { t = Neg(x)  s = Mul(t, t)  y = Add(s, t) }")
    neg = op(model, "Neg")
    edit = Editor(model)
    edit.replace_node(neg, edit.emit("Abs", list(neg.inputs), before=neg))
    assert [node.op_type for node in model.graph] == ["Abs", "Mul", "Add"]
    assert [value.name for value in op(model, "Mul").inputs] == [label(op(model, "Abs")) + ":0"] * 2
    assert_sound(model)


def test_replace_reaches_into_subgraphs():
    model = model_of(WITH_BRANCHES)
    neg = op(model, "Neg")
    edit = Editor(model)
    assert len(users(neg.outputs[0])) == 3
    edit.replace_node(neg, edit.emit("Abs", list(neg.inputs), before=neg))
    assert "Neg" not in to_text(model)
    assert_sound(model)


def test_a_replaced_graph_output_keeps_name_type_shape_and_annotations():
    model = model_of("g (float[N,3] x) => (float[N,3] y) { t = Neg(x)  y = Relu(t)  z = Abs(y) }")
    relu = op(model, "Relu")
    relu.outputs[0].metadata_props["origin"] = "layer 1"
    edit = Editor(model)
    edit.replace_node(relu, edit.emit("Clip", [relu.inputs[0], None, None], before=relu))
    (output,) = model.graph.outputs
    assert (output.name, output.producer().op_type, dims(output)) == ("y", "Clip", ("N", 3))
    assert output.metadata_props == {"origin": "layer 1"}
    assert op(model, "Abs").inputs[0] is output
    assert_sound(model)


@pytest.mark.parametrize("new", ["x", "w"])
def test_a_graph_output_that_becomes_an_input_or_initializer_is_made_by_an_identity(new):
    model = model_of("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Relu(x)  z = Neg(y) }")
    value = model.graph.inputs[0] if new == "x" else model.graph.initializers["w"]
    Editor(model).replace_node(op(model, "Relu"), value)
    (output,) = model.graph.outputs
    assert (output.name, output.producer().op_type, output.producer().inputs[0].name) == ("y", "Identity", new)
    assert op(model, "Neg").inputs[0] is value
    assert_sound(model)


def test_two_graph_outputs_that_become_one_value_stay_two():
    model = model_of("g (float[2] x) => (float[2] y, float[2] z) { y = Relu(x)  z = Relu(x) }")
    first, second = nodes(model, "Relu")
    Editor(model).replace_node(first, second.outputs[0])
    assert [node.op_type for node in model.graph] == ["Relu", "Identity"]
    assert_sound(model)


def test_a_value_listed_twice_as_graph_output_is_replaced_in_both_places():
    model = model_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    model.graph.outputs.append(model.graph.outputs[0])
    relu = op(model, "Relu")
    edit = Editor(model)
    edit.replace_node(relu, edit.emit("Abs", list(relu.inputs), before=relu))
    assert [output.name for output in model.graph.outputs] == ["y", "y"]
    assert {output.producer().op_type for output in model.graph.outputs} == {"Abs"}


def test_the_output_of_a_subgraph_cannot_be_made_outside_it():
    model = model_of(WITH_BRANCHES)
    relu = op(model, "Relu")
    Editor(model).replace_node(relu, relu.inputs[0])
    then_branch = list(graphs_of(model))[1]
    assert [(node.op_type, node.outputs[0].name) for node in then_branch] == [("Identity", "p")]
    assert_sound(model)


def test_an_identity_at_a_graph_output_is_not_replaced_by_another():
    model = model_of("g (float[2] x) => (float[2] y) { y = Identity(x) }")
    before = to_text(model)
    Editor(model).replace(model.graph.outputs[0], model.graph.inputs[0])
    assert to_text(model) == before


def test_a_graph_output_cannot_change_its_element_type():
    model = model_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    relu = op(model, "Relu")
    edit = Editor(model)
    other = edit.emit("Cast", list(relu.inputs), {"to": int(ir.DataType.FLOAT16)}, before=relu)
    with pytest.raises(ValueError, match="graph output y is of type FLOAT"):
        edit.replace(relu.outputs[0], other)


def test_a_replacement_learns_the_dims_that_the_old_value_knew():
    model = model_of("g (float[M,N] x) => (float[] y) { t = Neg(x)  u = CastLike(t, t)  y = Relu(u) }")
    neg = op(model, "Neg")
    neg.outputs[0].shape = ir.Shape([4, None])
    edit = Editor(model)
    new = edit.emit("Abs", list(neg.inputs), before=neg)
    edit.replace(neg.outputs[0], new)
    assert dims(new) == (4, "N")


def test_types_are_never_shared_between_values():
    model = model_of("g (float[2] x) => (float[2] y) { t = Neg(x)  y = Relu(t) }")
    neg = op(model, "Neg")
    custom = Editor(model).emit("Custom", list(neg.inputs), before=neg, domain="com.example")
    assert custom.type is None
    Editor(model).replace(neg.outputs[0], custom)
    custom.dtype = ir.DataType.FLOAT16
    assert neg.outputs[0].dtype == ir.DataType.FLOAT


def test_erase_refuses_what_is_read():
    model = model_of(WITH_BRANCHES)
    with pytest.raises(ValueError, match="still being used"):
        Editor(model).erase(op(model, "Neg"))


def test_erasing_a_node_frees_what_only_its_subgraphs_read():
    model = model_of(WITH_BRANCHES)
    branch = op(model, "If")
    edit = Editor(model)
    edit.replace(branch.outputs[0], edit.emit("Abs", [model.graph.inputs[0]], before=branch))
    edit.erase_unread(branch)
    assert [node.op_type for node in model.graph] == ["Abs"]
    assert_sound(model)


def test_erase_unread_follows_the_chain_up_to_what_is_still_read():
    model = model_of("""g (float[2] x) => (float[2] y, float[2] kept) {
        a = Neg(x)  kept = Abs(a)  b = Exp(kept)  c = Log(b)  y = Relu(a)
    }""")
    Editor(model).erase_unread(op(model, "Log"))
    assert [node.op_type for node in model.graph] == ["Neg", "Abs", "Relu"]


def test_ten_times_the_nodes_take_ten_times_the_calls():
    def calls(count: int) -> int:
        chain = "".join(f"v{i + 1} = Neg(v{i})\n" for i in range(count))
        model = parse(HEADER + f"g (float[2] v0) => (float[2] out) {{ {chain} out = Relu(v{count}) }}")
        seen = 0

        def count_call(frame: FrameType, event: str, argument: object) -> None:
            nonlocal seen
            seen += event in ("call", "c_call")

        sys.setprofile(count_call)
        try:
            edit = Editor(model)
            for node in nodes(model, "Neg"):
                edit.replace_node(node, edit.emit("Abs", list(node.inputs), before=node))
        finally:
            sys.setprofile(None)
        return seen

    assert calls(4_000) < 10.5 * calls(400)
