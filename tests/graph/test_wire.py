"""The walker over the protobuf wire format: finds every tensor, and survives every file."""

import numpy as np
import onnx
import onnx.helper as oh
import pytest
from google.protobuf.message import DecodeError

from npuopt.graph.wire import Payload, WireError, encode_varint, fields, length_of, rewrite_tensors


def tensor(name, array):
    return onnx.numpy_helper.from_array(np.asarray(array), name)


def model_with_tensors_everywhere() -> onnx.ModelProto:
    """One tensor as initializer, in a Constant, in a subgraph, in a list attribute and in a function."""
    branch = oh.make_graph(
        [oh.make_node("Add", ["x", "in_branch"], ["p"])],
        "branch",
        [],
        [oh.make_tensor_value_info("p", 1, [2])],
        [tensor("in_branch", np.float32([1, 2]))],
    )
    nodes = [
        oh.make_node("Constant", [], ["c"], value=tensor("in_constant", np.float32([3, 4]))),
        oh.make_node("If", ["cond"], ["y"], then_branch=branch, else_branch=branch),
        oh.make_node("Custom", ["c"], ["z"], domain="com.example", tensors=[tensor("in_list", np.float32([5]))]),
    ]
    inputs = [oh.make_tensor_value_info("x", 1, [2]), oh.make_tensor_value_info("cond", 9, [])]
    outputs = [oh.make_tensor_value_info("y", 1, [2])]
    graph = oh.make_graph(nodes, "g", inputs, outputs, [tensor("initializer", np.float32([6, 7]))])
    function = oh.make_function(
        "com.example",
        "F",
        [],
        ["q"],
        [oh.make_node("Constant", [], ["q"], value=tensor("in_function", np.float32([8])))],
        [oh.make_opsetid("", 24)],
    )
    return oh.make_model(graph, functions=[function], opset_imports=[oh.make_opsetid("", 24)])


def test_every_tensor_is_found():
    data = model_with_tensors_everywhere().SerializeToString()
    found = []

    def note(start, end):
        found.append(onnx.TensorProto.FromString(data[start:end]).name)

    assert rewrite_tensors(memoryview(data), note) == [memoryview(data)]
    assert sorted(found) == sorted(["initializer", "in_constant", "in_branch", "in_branch", "in_list", "in_function"])


def test_without_nodes_only_the_main_graphs_initializers_are_found():
    data = model_with_tensors_everywhere().SerializeToString()
    found = []
    rewrite_tensors(
        memoryview(data), lambda a, b: found.append(onnx.TensorProto.FromString(data[a:b]).name), into_nodes=False
    )
    assert found == ["initializer"]


def test_replaced_tensors_leave_a_model_that_parses():
    model = model_with_tensors_everywhere()
    data = model.SerializeToString()

    def rename(start, end):
        proto = onnx.TensorProto.FromString(data[start:end])
        proto.name = "new_" * 100 + proto.name  # longer, so every enclosing length changes
        return [memoryview(proto.SerializeToString())]

    rewritten = onnx.ModelProto.FromString(b"".join(rewrite_tensors(memoryview(data), rename)))
    for before, after in ((model, rewritten),):
        assert after.graph.initializer[0].name == "new_" * 100 + before.graph.initializer[0].name
        branch = after.graph.node[1].attribute[0].g
        assert branch.initializer[0].name == "new_" * 100 + "in_branch"
        assert branch.initializer[0].raw_data == before.graph.node[1].attribute[0].g.initializer[0].raw_data
        assert after.functions[0].node[0].attribute[0].t.name.endswith("in_function")
        assert after.opset_import == before.opset_import


def test_a_payload_counts_with_its_length():
    data = model_with_tensors_everywhere().SerializeToString()
    pieces = rewrite_tensors(memoryview(data), lambda a, b: [Payload("later", b - a)])
    assert length_of(pieces) == len(data)
    assert sum(isinstance(piece, Payload) for piece in pieces) == 6


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**31, 2**63])
def test_varints_come_back(number):
    data = memoryview(b"\x08" + encode_varint(number))
    (field,) = fields(data, 0, len(data))
    assert (field.number, field.wire_type) == (1, 0)
    assert onnx.TensorProto.FromString(bytes(data)).dims[0] % 2**64 == number


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x0a", "within a number"),
        (b"\x0a\xff", "within a number"),
        (b"\x0a\x05abc", "goes on to byte 7, past the end at byte 5"),
        (b"\x09abc", "past the end"),
        (b"\x0d" + b"a", "past the end"),
        (b"\x08" + b"\xff" * 11, "more than ten bytes"),
        (b"\x0b", "wire type 3"),
        (b"\x0c", "wire type 4"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "past the end"),
    ],
)
def test_broken_bytes_are_refused(data, why):
    with pytest.raises(WireError, match=why):
        rewrite_tensors(memoryview(data), lambda a, b: None)


def test_nesting_has_an_end():
    message = b""
    for _ in range(200):  # graph -> node -> attribute -> graph -> ...
        for number in (6, 5, 1):
            message = encode_varint(number << 3 | 2) + encode_varint(len(message)) + message
    data = encode_varint(7 << 3 | 2) + encode_varint(len(message)) + message
    with pytest.raises(WireError, match="nested more than 100 deep"):
        rewrite_tensors(memoryview(data), lambda a, b: None)


def test_bytes_changed_at_random_never_do_more_than_raise():
    good = model_with_tensors_everywhere().SerializeToString()
    draw = np.random.default_rng(0)
    refused = 0
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(draw.integers(1, 5)):
            data[draw.integers(len(data))] = draw.integers(256)
        del data[draw.integers(len(data) + 200) :]
        try:
            pieces = rewrite_tensors(memoryview(bytes(data)), lambda a, b: None)
        except WireError:
            refused += 1
            with pytest.raises(DecodeError):  # protobuf agrees
                onnx.ModelProto.FromString(bytes(data))
        else:
            assert b"".join(pieces) == bytes(data)
    assert 100 < refused < 2000
