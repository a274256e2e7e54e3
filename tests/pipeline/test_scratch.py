"""One node alone is what it was in its graph, and equal nodes are known as equal."""

import numpy as np
import onnx.checker
import pytest

from npuopt.graph import constant, dims, is_constant, nodes, to_proto
from npuopt.pipeline.scratch import SMALL, one_node_model, signature
from support.rewrites import model_from


def node_from(text, op_type):
    model = model_from(text)
    return next(node for node in nodes(model) if node.op_type == op_type), model


CLIP = (
    "(float[N,4] x) => (float[N,4] y) <float low = {-1}, float high = {1}> {a = Neg(x)  [clip] y = Clip(a, low, high)}"
)


def test_the_copy_has_the_nodes_types_shapes_attributes_and_constants():
    node, model = node_from(
        "(float[N,4] x, float[4] s) => (float[N,4] y) {y = LayerNormalization<axis=-1>(x, s)}", "LayerNormalization"
    )
    alone = one_node_model(node, model).model
    onnx.checker.check_model(to_proto(alone), full_check=True)
    assert [(value.name, dims(value)) for value in alone.graph.inputs] == [("x", ("N", 4)), ("s", (4,))]
    assert [(value.name, dims(value)) for value in alone.graph.outputs] == [("y", ("N", 4))]
    assert alone.graph[0].attributes["axis"].as_int() == -1


def test_constants_are_shared_and_not_copied():
    node, model = node_from(CLIP, "Clip")
    alone = one_node_model(node, model).model
    for own, copied in zip(node.inputs[1:], alone.graph[0].inputs[1:], strict=True):
        assert copied.const_value is own.const_value
        assert copied is not own
    assert [value.name for value in alone.graph.inputs] == ["a"]
    assert float(constant(alone.graph[0].inputs[2])) == 1


def test_the_graph_it_came_from_is_not_touched():
    node, model = node_from(CLIP, "Clip")
    before = to_proto(model).SerializeToString(deterministic=True)
    alone = one_node_model(node, model)
    alone.node.replace_input_with(1, None)
    assert to_proto(model).SerializeToString(deterministic=True) == before


def test_a_value_that_is_read_twice_stays_one_value_and_a_missing_one_missing():
    node, model = node_from("(float[2] x, float[2] hi) => (float[2] y) {y = Mul(x, x)}", "Mul")
    alone = one_node_model(node, model).node
    assert alone.inputs[0] is alone.inputs[1]
    node, model = node_from("(float[2] x) => (float[2] y) <float high = {1}> {y = Clip(x, , high)}", "Clip")
    assert one_node_model(node, model).node.inputs[1] is None


def test_outputs_that_nobody_reads_are_no_outputs():
    text = "(float[2,3] x, float[3] s) => (float[2,3] y) {y, mean = LayerNormalization(x, s)}"
    node, model = node_from(text, "LayerNormalization")
    assert [value.name for value in one_node_model(node, model).model.graph.outputs] == ["y"]


TWO = "(float[2,4] x) => (float[2,4] y) <CONSTANTS> {a = FIRST(x, p)  y = SECOND(a, q)}"


@pytest.mark.parametrize(
    ("first", "second", "constants", "equal"),
    [
        ("Add", "Add", "float[4] p = {1,2,3,4}, float[4] q = {1,2,3,4}", True),
        ("Add", "Add", "float[4] p = {1,2,3,4}, float[4] q = {1,2,3,5}", False),
        ("Add", "Add", "float[4] p = {1,2,3,4}, float[1] q = {1}", False),
        ("Add", "Mul", "float[4] p = {1,2,3,4}, float[4] q = {1,2,3,4}", False),
    ],
)
def test_what_makes_two_nodes_equal(first, second, constants, equal):
    text = TWO.replace("CONSTANTS", constants).replace("FIRST", first).replace("SECOND", second)
    left, right = nodes(model_from(text))
    assert (signature(left) == signature(right)) is equal


@pytest.mark.parametrize(("attributes", "equal"), [("alpha=0.5", True), ("alpha=0.25", False)])
def test_attributes_count(attributes, equal):
    left, right = nodes(model_from(f"(float[2] x) => (float[2] y) {{a = Elu<alpha=0.5>(x)  y = Elu<{attributes}>(a)}}"))
    assert (signature(left) == signature(right)) is equal


def test_the_numbers_of_large_constants_do_not_count():
    values = [",".join(map(str, np.arange(SMALL + 1) + shift)) for shift in (0, 1)]
    size = SMALL + 1
    text = f"""(float[2,{size}] x) => (float[2,{size}] y)
    <float[{size}] p = {{{values[0]}}}, float[{size}] q = {{{values[1]}}}> {{a = Add(x, p)  y = Add(a, q)}}"""
    left, right = nodes(model_from(text))
    assert signature(left) == signature(right)


def test_who_looks_at_the_numbers_of_a_large_constant_is_noticed():
    size, reads = SMALL + 1, []
    text = f"""(float[2,{size}] x) => (float[2,{size}] y)
    <float[{size}] p = {{{",".join(["1"] * size)}}}> {{y = Add(x, p)}}"""
    node, model = node_from(text, "Add")
    large = one_node_model(node, model, lambda: reads.append("read")).node.inputs[1]
    assert (dims(large), large.dtype, is_constant(large), reads) == ((size,), node.inputs[1].dtype, True, [])
    assert np.array_equal(constant(large), np.ones(size))
    assert reads == ["read"]


def test_text_and_tensors_in_attributes_count():
    left, right = nodes(
        model_from("""(string[2] x) => (bool[2] y, bool[2] z) <string[2] p = {"a", "b"}, string[2] q = {"a", "c"}>
        {y = Equal(x, p) z = Equal(x, q)}""")
    )
    assert signature(left) != signature(right)
    left, right = nodes(
        model_from("""(int64[1] n) => (float[N] y, float[N] z) {
        y = ConstantOfShape<value = float[1] {1}>(n) z = ConstantOfShape<value = float[1] {2}>(n)}""")
    )
    assert signature(left) != signature(right)


def test_a_value_read_twice_counts():
    left, right = nodes(model_from("(float[2] x, float[2] z) => (float[2] y) {a = Mul(x, x) y = Mul(x, z)}"))
    assert signature(left) != signature(right)


QUANTIZED = """(uint8[2] x) => (uint8[2] y) <float s = {0.5}, uint8 z = {3}, float t = {SCALE}> {
    a = DequantizeLinear(x, s, z)  b = Relu(a)  y = QuantizeLinear(b, t, z)
}"""


def test_a_quantized_node_comes_with_its_quantization():
    node, model = node_from(QUANTIZED.replace("SCALE", "0.25"), "Relu")
    scratch = one_node_model(node, model)
    onnx.checker.check_model(to_proto(scratch.model), full_check=True)
    assert [inner.op_type for inner in scratch.model.graph] == ["DequantizeLinear", "Relu", "QuantizeLinear"]
    assert scratch.new_nodes() == [scratch.node]
    assert [value.name for value in scratch.model.graph.outputs] == ["y"]
    others = (QUANTIZED.replace("SCALE", "0.5"), QUANTIZED.replace("SCALE", "0.25").replace("{3}", "{4}"))
    assert all(signature(node_from(text, "Relu")[0]) != signature(node) for text in others)
