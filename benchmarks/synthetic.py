"""Models made here: stacks of transformer layers and chains of N nodes, and one with gibibytes of weights beside it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import NodeProto

OPSET = 17
WIDTH, HEADS = 32, 2


class Writer:
    """Collects nodes and initializers of one graph."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.draw = np.random.default_rng(seed)

    def op(self, op_type: str, *inputs: str, **attributes: object) -> str:
        """Add a node and return its output."""
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [output], f"n{len(self.nodes)}", **attributes))
        return output

    def constant(self, array: np.ndarray) -> str:
        """Add an initializer and return its name."""
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def normal(self, *shape: int) -> str:
        """Add a random float32 initializer and return its name."""
        return self.constant(self.draw.normal(0, 0.1, shape).astype(np.float32))

    def save(self, path: Path, shape: list[str | int], output: str) -> None:
        """Write the model, from `x` to `output`, both of this shape."""
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", output)]
        graph = helper.make_graph(self.nodes, "g", ends[:1], ends[1:], self.initializers)
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8), path)


def chain(path: Path, nodes: int) -> None:
    """Write Add, Relu, Mul and Identity again and again."""
    to, x = Writer(), "x"
    for _ in range(nodes // 4):
        c = to.normal(16)
        x = to.op("Identity", to.op("Mul", to.op("Relu", to.op("Add", x, c)), c))
    to.save(path, ["N", 16], x)


def transformer(path: Path, nodes: int) -> None:
    """Write transformer layers as exporters spell them out, with their shape arithmetic."""
    to, x = Writer(), "x"
    while len(to.nodes) < nodes:
        x = _layer(to, x)
    to.save(path, ["B", "S", WIDTH], x)


def external(path: Path, mebibytes: int, layers: int = 16) -> None:
    """Write MatMul and Relu layers whose weights lie in a sparse file next to the model.

    The first bytes of each weight differ, as those of trained weights do; the rest are zeros that take no disk.
    """
    size = (mebibytes << 20) // layers
    width = int((size // 4) ** 0.5)
    to, x = Writer(), "x"
    for index in range(layers):
        weight = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=[width, width])
        weight.data_location = TensorProto.EXTERNAL
        places = {"location": f"{path.name}.data", "offset": str(index * size), "length": str(4 * width * width)}
        for key, value in places.items():
            weight.external_data.add(key=key, value=value)
        to.initializers.append(weight)
        x = to.op("Relu", to.op("Add", to.op("MatMul", x, weight.name), to.normal(width)))
    with path.with_name(f"{path.name}.data").open("wb") as file:
        for index in range(layers):
            file.seek(index * size)
            file.write(to.draw.normal(size=1024).astype(np.float32).tobytes())
        os.truncate(file.fileno(), layers * size)
    to.save(path, ["N", width], x)


def _layer(to: Writer, x: str) -> str:
    query, key, value = (_heads(to, _linear(to, x, WIDTH, WIDTH), order) for order in ("0213", "0231", "0213"))
    scores = to.op("Div", to.op("MatMul", query, key), to.constant(np.float32((WIDTH / HEADS) ** 0.5)))
    mixed = to.op("Transpose", to.op("MatMul", to.op("Softmax", scores, axis=-1), value), perm=[0, 2, 1, 3])
    joined = to.op("Reshape", mixed, _shape(to, mixed, WIDTH))
    x = _normalized(to, to.op("Add", _linear(to, joined, WIDTH, WIDTH), x))
    wide = _linear(to, x, WIDTH, 2 * WIDTH)
    gate = to.op("Add", to.op("Erf", to.op("Div", wide, to.constant(np.float32(2**0.5)))), to.constant(np.float32(1)))
    active = to.op("Mul", to.op("Mul", wide, gate), to.constant(np.float32(0.5)))
    return _normalized(to, to.op("Add", _linear(to, active, 2 * WIDTH, WIDTH), x))


def _linear(to: Writer, x: str, inputs: int, outputs: int) -> str:
    return to.op("Add", to.normal(outputs), to.op("MatMul", x, to.normal(inputs, outputs)))


def _heads(to: Writer, x: str, order: str) -> str:
    shape = _shape(to, x, HEADS, WIDTH // HEADS)
    return to.op("Transpose", to.op("Reshape", x, shape), perm=[int(axis) for axis in order])


def _shape(to: Writer, x: str, *sizes: int) -> str:
    """Compute [batch, positions, *sizes] as TorchScript does; the position axis of x is 1."""
    axis = to.constant(np.array([0]))
    dims = [to.op("Gather", to.op("Shape", x), to.constant(np.array(index))) for index in (0, 1)]
    parts = [to.op("Unsqueeze", dim, axis) for dim in dims]
    return to.op("Concat", *parts, *(to.constant(np.array([size])) for size in sizes), axis=0)


def _normalized(to: Writer, x: str) -> str:
    centered = to.op("Sub", x, to.op("ReduceMean", x, axes=[-1]))
    squares = to.op("ReduceMean", to.op("Pow", centered, to.constant(np.float32(2))), axes=[-1])
    deviation = to.op("Sqrt", to.op("Add", squares, to.constant(np.float32(1e-5))))
    scaled = to.op("Mul", to.op("Div", centered, deviation), to.constant(np.ones(WIDTH, np.float32)))
    return to.op("Add", scaled, to.constant(np.zeros(WIDTH, np.float32)))
