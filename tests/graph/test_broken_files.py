"""The one sentence that `load` says of each kind of broken file."""

from pathlib import Path

import numpy as np
import onnx
import onnx.helper as oh
import pytest

from npuopt.errors import InputError
from npuopt.graph import load
from support.model_files import WEIGHTS, external, proto_with, raw, typed_floats, write


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(path)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    return str(caught.value)


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
    model = load(write(tmp_path, proto_with(external("link.bin"))))
    np.testing.assert_array_equal(model.graph.initializers["w"].const_value.numpy(), WEIGHTS)


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
        ("y = Relu(x)  y = Abs(x)", "'y' has been used as output names multiple times"),
    ],
)
def test_invalid_graphs_name_the_node(tmp_path, body, words):
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 24]> g (float[2] x) => (float[2] y) {{ {body} }}'
    )
    assert words in refusal(write(tmp_path, proto))


def test_names_that_are_not_text(tmp_path):
    path = write(tmp_path, proto_with(raw()))
    path.write_bytes(path.read_bytes().replace(b"the_node", b"the_nod\xff"))
    assert "codec can't decode byte 0xff" in refusal(path)


def test_bytes_changed_at_random_load_or_are_refused(tmp_path):
    good = write(tmp_path, proto_with(raw(np.float32([[1, 2], [3, 4]])))).read_bytes()
    draw = np.random.default_rng(0)
    path = tmp_path / "model.onnx"
    refused = 0
    for _ in range(300):
        data = bytearray(good)
        for _ in range(draw.integers(1, 4)):
            data[draw.integers(len(data))] = draw.integers(256)
        path.write_bytes(data)
        try:
            load(path)
        except InputError:
            refused += 1
    assert 30 < refused < 300


def test_sparse_initializers_are_refused(tmp_path):
    proto = proto_with(raw())
    proto.graph.sparse_initializer.append(
        oh.make_sparse_tensor(raw(np.float32([1.0]), "s"), raw(np.int64([0]), "indices"), [5])
    )
    assert "initializer 's' is sparse, which is not supported" in refusal(write(tmp_path, proto))
