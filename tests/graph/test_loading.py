"""What `load` makes of good files, and the one sentence it says of bad ones."""

import os
from pathlib import Path

import numpy as np
import onnx
import onnx.helper as oh
import pytest

from npuopt.errors import InputError
from npuopt.graph import Model, Session, constant, load, nodes, save, to_proto
from npuopt.graph.mapped import MappedPackedTensor, MappedTensor

WEIGHTS = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)  # 16 KiB: large enough to be mapped


def proto_with(initializer: onnx.TensorProto, *, op: str = "MatMul", opset: int = 24) -> onnx.ModelProto:
    graph = oh.make_graph(
        [oh.make_node(op, ["x", "w"], ["y"], name="the_node")],
        "g",
        [oh.make_tensor_value_info("x", 1, [1, 64])],
        [oh.make_tensor_value_info("y", 1, None)],
        [initializer],
    )
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", opset)], ir_version=10)


def raw(array: np.ndarray = WEIGHTS, name: str = "w") -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(array, name)


def external(location: str, *, offset: object = None, length: object = None, dims=(64, 64)) -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="w", data_type=1, dims=dims, data_location=onnx.TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return tensor


def write(folder: Path, proto: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def weight(model: Model):
    return model.graph.initializers["w"].const_value


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(path)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- weights ----


def typed_floats() -> onnx.TensorProto:
    return oh.make_tensor("w", 1, WEIGHTS.shape, WEIGHTS.ravel())


def typed_doubles() -> onnx.TensorProto:
    return oh.make_tensor("w", 11, WEIGHTS.shape, WEIGHTS.ravel().astype(np.float64))


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


# ---- bad files ----


def test_no_file(tmp_path):
    assert "there is no such file" in refusal(tmp_path / "model.onnx")
    assert "there is no such file" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"<html>not found</html>", "not an ONNX file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "not an ONNX file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not an ONNX file"),
        (onnx.TensorProto(dims=[3]).SerializeToString(), "it holds no graph"),
    ],
)
def test_other_files(tmp_path, data, words):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    assert words in refusal(path)


def test_truncated(tmp_path):
    whole = proto_with(raw()).SerializeToString()
    path = tmp_path / "model.onnx"
    for size in range(1, len(whole), 997):
        path.write_bytes(whole[:size])
        assert "truncated" in refusal(path) or "not an ONNX file" in refusal(path)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("missing.bin", "is missing; put the file into"),
        ("../outside.bin", "points outside the model's folder"),
        ("sub/../../outside.bin", "points outside the model's folder"),
        ("/etc/hostname", "points outside the model's folder"),
        ("link.bin", "points outside the model's folder"),
        ("linked_folder/outside.bin", "points outside the model's folder"),
        ("", "names no file"),
        ("\0hidden", "names no file"),
        (".", "is missing"),
    ],
)
def test_external_data_that_is_not_in_the_models_folder(tmp_path, location, words):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(WEIGHTS.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    (folder / "linked_folder").symlink_to(tmp_path)
    message = refusal(write(folder, proto_with(external(location))))
    assert words in message
    assert "tensor 'w'" in message


def test_a_link_within_the_folder_is_fine(tmp_path):
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "link.bin").symlink_to("w.bin")
    np.testing.assert_array_equal(weight(load(write(tmp_path, proto_with(external("link.bin"))))).numpy(), WEIGHTS)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (external("w.bin", offset=4), "from byte 4 to byte 16388 of"),
        (external("w.bin", length=100), "100 bytes of data for FLOAT[64, 64], which takes 16384"),
        (external("w.bin", offset="-4"), "the offset '-4' of its external data is not a number"),
        (external("w.bin", offset="4k"), "the offset '4k'"),
        (external("w.bin", length="9" * 5000), "the length '9999999999"),
        (external("w.bin", dims=(64, -64)), "the dims [64, -64] are not a shape"),
        (external("w.bin", dims=(1 << 40, 1 << 40)), "are not a shape"),
        (external("\0inside", offset=10**9), "from byte 1000000000"),
    ],
)
def test_external_data_of_the_wrong_size(tmp_path, tensor, words):
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    assert words in refusal(write(tmp_path, proto_with(tensor)))


def test_strings_are_never_external(tmp_path):
    (tmp_path / "w.bin").write_bytes(b"text")
    tensor = external("w.bin")
    tensor.data_type = onnx.TensorProto.STRING
    assert "elements of type STRING cannot be external data" in refusal(write(tmp_path, proto_with(tensor)))


def cut(tensor: onnx.TensorProto, field: str, keep: int) -> onnx.TensorProto:
    values = getattr(tensor, field)[:keep]
    tensor.ClearField(field)
    if field == "raw_data":
        tensor.raw_data = values
    else:
        getattr(tensor, field).extend(values)
    return tensor


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (cut(raw(), "raw_data", 16000), "16000 bytes of data for FLOAT[64, 64], which takes 16384"),
        (cut(raw(), "raw_data", 8), "8 bytes of data for FLOAT[64, 64], which takes 16384"),
        (cut(typed_floats(), "float_data", 4000), "16000 bytes of data"),
        (cut(typed_floats(), "float_data", 5), "5 values for FLOAT[64, 64], which takes 4096"),
        (cut(oh.make_tensor("w", 7, [3], [1, 2, 3]), "int64_data", 2), "2 values for INT64[3], which takes 3"),
        (cut(oh.make_tensor("w", 22, [5], [1, 2, 3, 4, 5]), "int32_data", 2), "2 values for INT4[5], which takes 3"),
        (onnx.TensorProto(name="w", data_type=1, dims=[2]), "0 values for FLOAT[2], which takes 2"),
        (onnx.TensorProto(name="w", data_type=99, dims=[2]), "there is no element type number 99"),
        (onnx.TensorProto(name="w", data_type=1, dims=[-2]), "the dims [-2] are not a shape"),
    ],
)
def test_weights_of_the_wrong_size(tmp_path, tensor, words):
    message = refusal(write(tmp_path, proto_with(tensor)))
    assert words in message
    assert "tensor 'w'" in message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("[bad] y = Relu(z)", "input 'z' of node: name: bad OpType: Relu is not output of any previous nodes"),
        ("[bad] y = NoSuchOp(x)", "No Op registered for NoSuchOp with domain_version of 24 (at bad, NoSuchOp)"),
        ("[bad] y = Relu<slope = 1>(x)", "Unrecognized attribute: slope for operator Relu (at bad, Relu)"),
        ("y = com.nowhere.Op(x)", "No opset import for domain 'com.nowhere' (at a nameless node, Op)"),
        ("y = Relu(x)  y = Abs(x)", "'y' is redeclared"),
    ],
)
def test_invalid_graphs_name_the_node(tmp_path, body, words):
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 24]> g (float[2] x) => (float[2] y) {{ {body} }}'
    )
    assert words in refusal(write(tmp_path, proto))


def test_sparse_initializers_are_refused(tmp_path):
    proto = proto_with(raw())
    proto.graph.sparse_initializer.append(
        oh.make_sparse_tensor(raw(np.float32([1.0]), "s"), raw(np.int64([0]), "indices"), [5])
    )
    assert "initializer 's' is sparse, which is not supported" in refusal(write(tmp_path, proto))
