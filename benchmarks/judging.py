"""Opens a quantized model to judge it: what it holds as integers is dequantized once, and not at every sample.

ONNX Runtime without optimizations computes a DequantizeLinear of a weight anew in each run, which for some peers'
models takes longer than all else. The numbers are the same up to the order in which floats are summed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from onnx import helper, numpy_helper

from npuopt.graph.execution import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

HELD = ("QuantizeLinear", "DequantizeLinear")


def judged(path: Path) -> Session:
    """Open a model with its constants in floats, without optimizations and with exact integer sums."""
    with tempfile.TemporaryDirectory(prefix="npuopt-judging-") as folder:
        copy = Path(folder) / "model.onnx"
        onnx.save(in_floats(onnx.load(path)), copy, save_as_external_data=True)
        return Session(copy, quiet=True)


def in_floats(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace what quantizes or dequantizes constants by what that makes, in place."""
    nodes = _of_constants(model)
    if not nodes:
        return model
    values = _computed(model, nodes)
    others = _others(model, nodes)
    read = {name for node in others for name in node.input} | {output.name for output in model.graph.output}
    constants = [tensor for tensor in model.graph.initializer if tensor.name in read]
    constants += [numpy_helper.from_array(array, name) for name, array in values.items()]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(others)
    model.graph.initializer.extend(constants)
    return model


def _of_constants(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    known = {"", *(tensor.name for tensor in model.graph.initializer)}
    found: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type in HELD and known.issuperset(node.input):
            known.update(node.output)
            found.append(node)
    return found


def _others(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    made = {name for node in nodes for name in node.output}
    return [node for node in model.graph.node if made.isdisjoint(node.output)]


def _computed(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> dict[str, np.ndarray]:
    """Run the nodes as a model of their own, and return what the others read of them."""
    elsewhere = {name for node in _others(model, nodes) for name in node.input}
    elsewhere.update(output.name for output in model.graph.output)
    wanted = sorted(elsewhere & {name for node in nodes for name in node.output})
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "constants",
        [],
        [helper.make_empty_tensor_value_info(name) for name in wanted],
        [tensor for tensor in model.graph.initializer if tensor.name in read],
    )
    part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    with tempfile.TemporaryDirectory(prefix="npuopt-judging-") as folder:
        file = Path(folder) / "constants.onnx"
        onnx.save(part, file, save_as_external_data=True)
        return Session(file, quiet=True).run({})
