"""Every node gets a name of its own."""

import onnx

from npuopt.graph import load, name_nodes, nodes
from support.model_files import write

TEXT = """<ir_version: 10, opset_import: ["" : 24]> g (bool c, float[3] x) => (float[3] y, float[3] z) {
    a = Relu(x)
    b = Relu(a)
    y = If (c) <then_branch = t () => (float[3] d) { d = Abs(b) }, else_branch = e () => (float[3] f) { f = Neg(b) }>
    z = Neg(a)
}"""


def loaded(tmp_path, *names: str) -> list[str | None]:
    proto = onnx.parser.parse_model(TEXT)
    for node, name in zip(proto.graph.node, names, strict=False):
        node.name = name
    model = load(write(tmp_path, proto))
    name_nodes(model)
    return [node.name for node in nodes(model)]


def test_after_type_and_first_output(tmp_path):
    assert loaded(tmp_path) == ["Relu_a", "Relu_b", "If_y", "Abs_d", "Neg_f", "Neg_z"]


def test_names_that_are_there_stay(tmp_path):
    assert loaded(tmp_path, "first", "", "branch") == ["first", "Relu_b", "branch", "Abs_d", "Neg_f", "Neg_z"]


def test_the_second_of_a_name_gets_a_number_that_is_free(tmp_path):
    assert loaded(tmp_path, "same", "same", "same_1", "same")[:3] == ["same", "same_2", "same_1"]


def test_a_made_up_name_that_another_node_has_gets_a_number(tmp_path):
    assert loaded(tmp_path, "", "Relu_a")[:2] == ["Relu_a_1", "Relu_a"]


def test_named_a_second_time_nothing_changes(tmp_path):
    model = load(write(tmp_path, onnx.parser.parse_model(TEXT)))
    name_nodes(model)
    before = [node.name for node in nodes(model)]
    name_nodes(model)
    assert [node.name for node in nodes(model)] == before
