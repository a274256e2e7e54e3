"""A region on its way to the translator: the graph as JSON, the weights as an npz; no onnx is needed there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnx
from onnx import helper, numpy_helper

from npuopt.delegates.arrays import save_arrays
from npuopt.delegates.contract import STATE
from npuopt.delegates.samples import run_time_inputs
from npuopt.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STANDARD = ("", "ai.onnx")


def hand_over(model: onnx.ModelProto, weights: Path) -> dict[str, Any]:
    """Return the graph and write its weights.

    Raises:
        InternalError: the model has what no region has: subgraphs, free dims, nodes without names of their own.
    """
    arrays: dict[str, np.ndarray] = {}
    held: dict[str, str] = {}
    for tensor in model.graph.initializer:
        arrays[tensor.name] = _plain(tensor, tensor.name, held)
    nodes: list[dict[str, Any]] = []
    for node in model.graph.node:
        if node.op_type == "Constant" and node.domain in STANDARD:
            arrays[node.output[0]] = _constant(node, held)
        else:
            nodes.append(_node(node))
    names = [node["name"] for node in nodes]
    if len({*names}) != len(names) or "" in names:
        raise InternalError("regions need unique node names")
    save_arrays(weights, list(arrays.values()))
    return {
        "inputs": [_port(value) for value in run_time_inputs(model)],
        "outputs": [_port(value) for value in model.graph.output],
        "nodes": nodes,
        "weights": list(arrays),
        "held_types": held,
        "states": states_of(model),
    }


def states_of(model: onnx.ModelProto) -> dict[str, str]:
    """Return which inputs are states, with the outputs that they come back as.

    Raises:
        InternalError: one does not come back in the same shape.
    """
    found = {item.key.removeprefix(STATE): item.value for item in model.metadata_props if item.key.startswith(STATE)}
    ports: Mapping[str, list[int]] = {
        value.name: _port(value)["shape"] for value in (*model.graph.input, *model.graph.output)
    }
    for given, made in found.items():
        if given not in ports or ports.get(made) != ports[given]:
            raise InternalError(f"state {given!r} does not come back as {made!r} in the same shape")
    return found


def _plain(tensor: onnx.TensorProto, name: str, held: dict[str, str]) -> np.ndarray:
    """Return a tensor in a type that numpy has of itself, and note what it was where that says less."""
    array = numpy_helper.to_array(tensor)
    kind = array.dtype.name
    if kind in ("int4", "uint4"):
        held[name] = kind
        return array.astype(np.int8 if kind == "int4" else np.uint8)
    return array.astype(np.float32) if kind == "bfloat16" else array


def _constant(node: onnx.NodeProto, held: dict[str, str]) -> np.ndarray:
    (attribute,) = node.attribute
    if attribute.name == "value":
        return _plain(attribute.t, node.output[0], held)
    value = helper.get_attribute_value(attribute)
    return np.asarray(value, np.float32 if "float" in attribute.name else np.int64)


def _node(node: onnx.NodeProto) -> dict[str, Any]:
    op_type = node.op_type if node.domain in STANDARD else f"{node.domain}::{node.op_type}"
    attributes: dict[str, Any] = {item.name: _attribute(node, item) for item in node.attribute}
    for name in ("to", "output_dtype"):
        if attributes.get(name):
            attributes[name] = helper.tensor_dtype_to_np_dtype(attributes[name]).name
    return {
        "name": node.name,
        "op_type": op_type,
        "inputs": list(node.input),
        "outputs": list(node.output),
        "attributes": attributes,
    }


def _attribute(node: onnx.NodeProto, item: onnx.AttributeProto) -> str | float | list[int | float]:
    value = cast("object", helper.get_attribute_value(item))
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, list):
        numbers = [one for one in cast("list[object]", value) if isinstance(one, (int, float))]
        if len(numbers) == len(cast("list[object]", value)):
            return numbers
    raise InternalError(f"attribute {item.name} of {node.op_type} is neither a number, a list of them, nor a word")


def _port(value: onnx.ValueInfoProto) -> dict[str, Any]:
    declared = value.type.tensor_type
    kind = helper.tensor_dtype_to_np_dtype(declared.elem_type).name
    return {"name": value.name, "type": kind, "shape": [dim.dim_value for dim in declared.shape.dim]}
