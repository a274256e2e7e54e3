"""What `load` makes of good files; `test_broken_files` has the bad ones."""

import os

import numpy as np
import onnx
import onnx.helper as oh
import pytest

from npuopt.graph import Editor, Model, Session, constant, dims, graphs_of, load, nodes, save, to_proto
from npuopt.graph.mapped import MappedPackedTensor, MappedTensor
from support.model_files import WEIGHTS, external, proto_with, raw, typed_doubles, typed_floats, write


def weight(model: Model):
    return model.graph.initializers["w"].const_value


# ---- weights ----


@pytest.mark.parametrize("tensor", [raw(), typed_floats(), typed_doubles(), raw(WEIGHTS.astype(np.int8))])
def test_weights_inside_the_file_are_mapped(tmp_path, tensor):
    model = load(write(tmp_path, proto_with(tensor)))
    expected = onnx.numpy_helper.to_array(tensor)
    assert isinstance(weight(model), MappedTensor)
    np.testing.assert_array_equal(constant(model.graph.initializers["w"]), expected)
    assert weight(model).tobytes() == expected.tobytes()
    assert not weight(model).numpy().flags.writeable


@pytest.mark.parametrize("name", ["INT4", "UINT4", "BFLOAT16", "FLOAT8E4M3FN"])
def test_narrow_types_are_mapped_too(tmp_path, name):
    dtype = onnx.TensorProto.DataType.Value(name)
    values = np.random.default_rng(1).integers(0, 7, (128, 129)).astype(np.float32)
    tensor = oh.make_tensor("w", dtype, values.shape, values.ravel())
    packed = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), "w")  # the same as raw_data
    graph = oh.make_graph(
        [oh.make_node("Identity", ["w"], ["y"])],
        "g",
        [],
        [oh.make_tensor_value_info("y", dtype, values.shape)],
        [packed],
    )
    model = load(write(tmp_path, oh.make_model(graph, opset_imports=[oh.make_opsetid("", 24)])))
    assert isinstance(weight(model), MappedTensor | MappedPackedTensor)
    assert weight(model).tobytes() == packed.raw_data
    np.testing.assert_array_equal(weight(model).numpy().astype(np.float32), values)


def test_an_unaligned_mapped_weight_computes_the_same(tmp_path):
    proto = proto_with(raw())
    for padding in range(4):
        proto.producer_name = "p" * padding
        path = write(tmp_path, proto)
        model = load(path)
        x = np.ones((1, 64), np.float32)
        (ours,) = Session(model, threads=1).run({"x": x}).values()
        np.testing.assert_allclose(ours, x @ WEIGHTS, rtol=1e-5, atol=1e-5)


def test_external_data_is_mapped(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(b"\0" * 100 + WEIGHTS.tobytes())
    model = load(write(tmp_path, proto_with(external("weights/w.bin", offset=100, length=WEIGHTS.nbytes))))
    assert isinstance(weight(model), MappedTensor)
    np.testing.assert_array_equal(weight(model).numpy(), WEIGHTS)
    assert to_proto(model).graph.initializer[0].raw_data == WEIGHTS.tobytes()


def test_external_data_past_two_gib_takes_no_memory(tmp_path):
    rows = (3 << 30) // (64 * 4)
    with (tmp_path / "w.bin").open("wb") as file:  # sparse: takes no disk either
        file.truncate(rows * 64 * 4)
        file.seek(-256, os.SEEK_END)
        file.write(WEIGHTS[0].tobytes())
    model = load(write(tmp_path, proto_with(external("w.bin", dims=(rows, 64)), op="Gather")))
    np.testing.assert_array_equal(weight(model).numpy()[-1], WEIGHTS[0])
    assert weight(model).nbytes == 3 << 30


def test_a_loaded_model_stays_whole_when_its_file_is_replaced(tmp_path):
    path = write(tmp_path, proto_with(raw()))
    model = load(path)
    save(model, path)
    save(load(path), path)
    np.testing.assert_array_equal(weight(model).numpy(), WEIGHTS)
    np.testing.assert_array_equal(weight(load(path)).numpy(), WEIGHTS)


# ---- what loading makes canonical ----


def test_constants_become_initializers_also_in_subgraphs(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 24]>
    g (float[2] x, bool c) => (float[2] y, float[2] kept) {
        a = Constant<value = float[2] {1, 2}>()
        i = Constant<value_ints = [0]>()
        t = Add(x, a)
        kept = Constant<value_floats = [1.0, 2.0]>()
        y = If(c) <then_branch = b () => (float[2] p) { f = Constant<value_float = 2.0>()  p = Mul(t, f) },
                   else_branch = d () => (float[2] q) { q = Constant<value_floats = [0.0, 0.0]>() }>
    }"""
    model = load(write(tmp_path, onnx.parser.parse_model(text)))
    assert set(model.graph.initializers) == {"a", "i"}
    assert constant(model.graph.initializers["i"]).dtype == np.int64
    assert [node.outputs[0].name for node in nodes(model, "Constant")] == ["kept", "q"]  # these are graph outputs
    (then_branch, _) = list(model.graph.subgraphs())
    assert set(then_branch.initializers) == {"f"}
    outputs = Session(model, threads=1).run({"x": np.float32([1, 1]), "c": np.array(True)})
    np.testing.assert_array_equal(outputs["y"], [4, 6])


def test_functions_and_metadata_are_kept(tmp_path):
    text = """<ir_version: 10, opset_import: ["" : 24, "local" : 1], producer_name: "me", metadata_props: ["k" : "v"]>
    g (float[2] x) => (float[2] y) { y = local.double(x) }
    <domain: "local", opset_import: ["" : 24]>
    double (a) => (b) { two = Constant<value = float {2}>()  b = Mul(a, two) }"""
    model = load(write(tmp_path, onnx.parser.parse_model(text)))
    assert [function.name for function in model.functions.values()] == ["double"]
    assert (model.producer_name, model.metadata_props) == ("me", {"k": "v"})
    assert Session(model, threads=1).run({"x": np.float32([1, 2])})["y"].tolist() == [2, 4]


def test_before_ir_version_4_initializers_stood_among_the_inputs(tmp_path):
    proto = proto_with(raw())
    proto.ir_version = 3
    proto.graph.input.append(oh.make_tensor_value_info("w", 1, [64, 64]))
    assert [value.name for value in load(write(tmp_path, proto)).graph.inputs] == ["x"]


def test_from_ir_version_4_on_they_are_inputs_with_a_default(tmp_path):
    proto = proto_with(raw())
    proto.graph.input.append(oh.make_tensor_value_info("w", 1, [64, 64]))
    assert [value.name for value in load(write(tmp_path, proto)).graph.inputs] == ["x", "w"]


def test_notes_that_contradict_the_graph_are_forgotten(tmp_path):
    """Here of another export: what is computed from Shape would be wrong."""
    proto = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 24]> g (float[3,N] x) => (int64[2] y) {
            a = Relu(x) b = Neg(a) y = Shape(b)
        }"""
    )
    for name, shape in (("a", [5, "N"]), ("b", [5, "K", 2])):
        proto.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    model = load(write(tmp_path, proto))
    assert [dims(node.outputs[0]) for node in nodes(model, "Relu", "Neg")] == [(3, "N"), (3, "N")]


def test_notes_that_say_more_than_inference_finds_are_kept(tmp_path):
    proto = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 24]> g (float[3,N] x, int64[2] t) => (float[A,B] y) {
            a = Reshape(x, t) y = Relu(a)
        }"""
    )
    proto.graph.value_info.append(onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, [5, "K"]))
    assert dims(nodes(load(write(tmp_path, proto)), "Reshape")[0].outputs[0]) == (5, "K")


def test_dims_of_minus_one_are_open(tmp_path):
    """Paddle's exporter writes them."""
    proto = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 24]> g (bool c, float[N,3] x) => (float[N,3] y) {
            y = If (c) <then_branch = t () => (float[N,3] a) { a = Relu(x) },
                        else_branch = e () => (float[N,3] b) { b = Neg(x) }>
        }"""
    )
    branch = proto.graph.node[0].attribute[0].g
    for info in (proto.graph.input[1], proto.graph.output[0], branch.output[0]):
        info.type.tensor_type.shape.dim[0].dim_value = -1
    model = load(write(tmp_path, proto))
    assert dims(model.graph.inputs[1]) == (None, 3)
    assert all(not isinstance(dims(output)[0], int) for graph in graphs_of(model) for output in graph.outputs)


def test_a_model_of_another_domain_alone_imports_the_standard_one_too(tmp_path):
    proto = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["ai.onnx.ml" : 3]> g (float[3,4] x) => (float[3,4] y) {
            y = ai.onnx.ml.Scaler<offset = [1.0], scale = [2.0]>(x)
        }"""
    )
    model = load(write(tmp_path, proto))
    assert model.opset_imports == {"ai.onnx.ml": 3, "": 24}
    node = model.graph[0]
    assert Editor(model).emit("Relu", [node.inputs[0]], before=node).dtype is not None


def test_initializers_of_subgraphs_hide_nothing(tmp_path):
    proto = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 24]> g (bool c, float[2] x) => (float[2] y) <float[2] w = {1, 2}> {
            a = Add(x, w)
            y = If(c) <then_branch = t () => (float[2] p) <float[2] w = {3, 4}, float[2] w_1 = {5, 6}> {
                           b = Add(a, w) p = Mul(b, w_1) },
                       else_branch = e () => (float[2] q) { q = Add(a, w) }>
        }"""
    )
    model = load(write(tmp_path, proto))
    assert [sorted(graph.initializers) for graph in graphs_of(model)] == [["w"], ["w_1", "w_2"], []]
    for taken, expected in ((True, [25, 48]), (False, [3, 6])):
        outputs = Session(model, threads=1).run({"c": np.array(taken), "x": np.array([1, 2], np.float32)})
        np.testing.assert_array_equal(outputs["y"], np.array(expected, np.float32))
