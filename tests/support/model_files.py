"""Small model files, good and broken, for the tests of loading."""

from pathlib import Path

import numpy as np
import onnx
import onnx.helper as oh

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


def typed_floats() -> onnx.TensorProto:
    return oh.make_tensor("w", 1, WEIGHTS.shape, WEIGHTS.ravel())


def typed_doubles() -> onnx.TensorProto:
    return oh.make_tensor("w", 11, WEIGHTS.shape, WEIGHTS.ravel().astype(np.float64))
