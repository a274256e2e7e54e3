"""Mixed precision: which nodes are computed in another scheme, and what that does to the tensors between them."""

import pytest

from npuopt.errors import InputError, UsageError
from npuopt.passes.quantize.insert_quantize_dequantize import InsertQuantizeDequantize
from npuopt.quantization.assignment.precisions import node_precisions, read_precisions
from npuopt.quantization.encodings import Encodings
from npuopt.target import parse_target
from support.assigning import assign
from support.integer_chip import HEAD, integer_chip
from support.rewrites import model_from

CHAIN = "(float[2] x) => (float[2] y) {a = Neg(x) b = Relu(a) y = Neg(b)}"
MOVED = """(float[2,2] x) => (float[2,2] y) <int64[2] s = {2, 2}>
{a = Neg(x) b = Transpose(a) c = Reshape(b, s) y = Neg(c)}"""


def dtypes(encodings):
    return {name: encoding.dtype for name, encoding in encodings.tensors.items()}


def test_neighbours_that_differ_are_converted_at_the_use():
    encodings = assign(CHAIN, precisions={"b": "a16w8"})
    assert dtypes(encodings) == {"x": "uint8", "a": "uint8", "b": "uint16", "y": "uint8"}
    assert {(output, index): held.dtype for output, by in encodings.uses.items() for index, held in by.items()} == {
        ("b", 0): "uint16",
        ("y", 0): "uint8",
    }


def test_the_graph_converts_between_integers_and_nowhere_else():
    model = model_from(CHAIN)
    InsertQuantizeDequantize(encodings=assign(CHAIN, precisions={"b": "a16w8"}))(model)
    between = [
        (node.inputs[0].producer().inputs[0].dtype.name, node.outputs[0].dtype.name)
        for node in model.graph
        if node.op_type == "QuantizeLinear" and getattr(node.inputs[0].producer(), "op_type", "") == "DequantizeLinear"
    ]
    assert between == [("UINT8", "UINT16"), ("UINT16", "UINT8")]


def test_what_only_moves_numbers_takes_the_type_of_its_readers_then_of_its_maker():
    wide_reader = assign(MOVED, precisions={"y": "a16w8"})
    assert dtypes(wide_reader) == {"x": "uint8", "a": "uint8", "b": "uint16", "c": "uint16", "y": "uint16"}
    assert wide_reader.uses == {"b": {0: wide_reader.tensors["b"]}}, "converted ahead of the moves"
    narrow_reader = assign(MOVED, "a16w8", precisions={"y": "a8w8", "b": "a16w8"})
    assert dtypes(narrow_reader)["c"] == "uint8", "whatever was asked of the mover"


def test_readers_that_disagree_leave_a_moved_tensor_the_widest_type():
    text = "(float[2,2] x) => (float[2,2] y, float[2,2] z) {t = Transpose(x) y = Neg(t) z = Relu(t)}"
    encodings = assign(text, precisions={"z": "a16w8"})
    assert dtypes(encodings)["t"] == dtypes(encodings)["x"] == "uint16"
    assert encodings.uses["y"][0].dtype == "uint8"


def test_a_mover_that_has_a_type_only_is_not_given_another():
    rules = "  Neg: {schemes: [a8w8, a16w8]}\n  Transpose: {schemes: [a8w8], quantization: {share: true}}"
    chip = parse_target(HEAD + rules)
    text = "(float[2,2] x) => (float[2,2] y) {a = Neg(x) b = Transpose(a) y = Neg(b)}"
    encodings = assign(text, chip=chip, precisions={"y": "a16w8", "a": "a16w8"})
    assert dtypes(encodings)["b"] == "uint8"
    assert encodings.uses["b"][0].dtype == "uint8"
    assert encodings.uses["y"][0].dtype == "uint16"


def test_weights_and_fixed_outputs_are_those_of_the_nodes_own_scheme():
    text = """(float[2,2] x) => (float[2,2] y) <float[2,2] w = {1, 2, 3, 4}>
    {p = MatMul(x, w) s = Softmax(p) y = Neg(s)}"""
    encodings = assign(text, precisions={"s": "a16w8"})
    assert encodings.tensors["s"].dtype == "uint16"
    assert encodings.tensors["s"].scale[0] == pytest.approx(2**-16)
    assert encodings.tensors["w"].dtype == "int8"


def test_a_float_scheme_leaves_the_node_in_float():
    text = "(float[2] x) => (float[2] y) {a = Exp(x) b = Neg(a) c = Relu(b) d = Exp(c) y = Relu(d)}"
    assert set(assign(text, precisions={"b": "fp16", "c": "fp16"}).tensors) == {"d", "y"}


def test_the_file_remembers_the_precisions(tmp_path):
    encodings = assign(CHAIN, precisions={"b": "a16w8"})
    encodings.save(tmp_path / "e.json")
    assert Encodings.load(tmp_path / "e.json").precisions == {"b": "a16w8"}
    assert "precisions" in (tmp_path / "e.json").read_text()


NAMED = "(float[2] x) => (float[2] y) {[first] a = Neg(x) [second] b = Relu(a) [last] y = Neg(b)}"


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ([("Neg", "a16w8")], {"a": "a16w8", "y": "a16w8"}),
        ([("second", "a16w8")], {"b": "a16w8"}),
        ([("b", "a16w8")], {"b": "a16w8"}),
        ([("*st", "a16w8")], {"a": "a16w8", "y": "a16w8"}),
        ([("*", "a16w8"), ("first", "a8w8")], {"b": "a16w8", "y": "a16w8"}),
    ],
)
def test_patterns_name_op_types_nodes_and_what_they_make(patterns, found):
    assert node_precisions(model_from(NAMED), integer_chip(), "a8w8", patterns) == found


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (("third", "a16w8"), "no node with float data is called 'third'"),
        (("first", "a16w9"), "has no scheme 'a16w9'"),
        (("Log", "a16w8"), "does not compute g in a16w8: Log is not taken in a16w8, only in fp16"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(pattern, words):
    model = model_from("(float[2] x) => (float[2] y) {[first] a = Neg(x) [g] y = Log(a)}")
    with pytest.raises(UsageError, match=words):
        node_precisions(model, integer_chip(), "a8w8", [pattern])


def test_a_file_of_patterns_is_read_in_its_order(tmp_path):
    (tmp_path / "p.yaml").write_text('Softmax: a16w8  # why\n"/layers.0/*": fp16\n')
    assert read_precisions(tmp_path / "p.yaml") == (("Softmax", "a16w8"), ("/layers.0/*", "fp16"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n", "p.yaml:1:1: the file must hold a mapping"),
        ("", "the file is empty"),
        ("a: b: c", r"p.yaml:1:"),
        ("x: a8w8\nSoftmax: 16\n", r"p.yaml:2:1: 'Softmax' needs the name of a scheme, not 16"),
        ("a: a8w8\na: a16w8\n", r"p.yaml:2:1"),
    ],
)
def test_a_file_that_says_something_else_is_bad_input(tmp_path, text, words):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(InputError, match=words):
        read_precisions(tmp_path / "p.yaml")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"none.yaml: precisions file cannot be read"):
        read_precisions(tmp_path / "none.yaml")


ASKED_FOR = """
name: test/integers-alone
title: A chip for tests
delegate: {road: qnn, soc_model: 1, arch: v0, vtcm_mib: 1}
schemes:
  a8w8: {activation: int8, weight: int8}
  a16w8: {activation: int16, weight: int8, automatic: false}
ops:
  Neg: {schemes: [a8w8, a16w8]}
  Relu: {schemes: [a8w8]}
"""


def test_of_a_chip_of_integers_alone_what_lacks_the_wide_scheme_keeps_the_one_that_the_chip_is_made_for():
    chip = parse_target(ASKED_FOR)
    model = model_from("(float[2] x) => (float[2] y) {a = Neg(x) b = Relu(a) c = Neg(b) y = Exp(c)}")
    assert node_precisions(model, chip, "a16w8", []) == {"b": "a8w8"}
    assert node_precisions(model, chip, "a16w8", [("c", "a8w8")]) == {"b": "a8w8", "c": "a8w8"}
    assert node_precisions(model, chip, "a8w8", []) == {}
