"""Constant nodes become initializers, so that every pass finds every compile-time value in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from npuopt.graph.queries import graphs_of, is_op

if TYPE_CHECKING:
    from collections.abc import Callable

_TYPES: dict[str, type[np.generic]] = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def lift_constants(model: ir.Model) -> None:
    """Turn every Constant node into an initializer of the graph it stands in, value and name unchanged.

    Left alone: those that make a graph output (an initializer should not be one), those in functions (which hold
    no initializers), sparse ones, and malformed ones, which are the checker's to report.
    """
    for graph in graphs_of(model):
        for node in list(graph):
            if not is_op(node, "Constant") or len(node.outputs) != 1 or len(node.attributes) != 1:
                continue
            output = node.outputs[0]
            tensor = _tensor_of(next(iter(node.attributes.values())))
            if tensor is None or not output.name or output.is_graph_output():
                continue
            _make_initializer(graph, node, tensor)


def _make_initializer(graph: ir.Graph, node: ir.Node, tensor: ir.TensorProtocol) -> None:
    output = node.outputs[0]
    name = output.name or ""
    tensor.name = name
    value = ir.Value(
        name=name,
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(tensor.shape.numpy()),
        doc_string=output.doc_string,
        const_value=tensor,
        metadata_props=dict(output.metadata_props),
    )
    value.meta.update(output.meta)  # pyright: ignore[reportUnknownMemberType] -- a UserDict without type arguments
    output.replace_all_uses_with(value)
    graph.remove(node)
    graph.register_initializer(value)


def _tensor_of(attribute: ir.Attr) -> ir.TensorProtocol | None:
    if attribute.is_ref():
        return None
    if attribute.name == "value" and attribute.type == ir.AttributeType.TENSOR:
        return attribute.as_tensor()
    strings: dict[str, Callable[[], list[str]]] = {
        "value_string": lambda: [attribute.as_string()],
        "value_strings": lambda: list(attribute.as_strings()),
    }
    if attribute.name in strings:
        encoded = [text.encode() for text in strings[attribute.name]()]
        return ir.StringTensor(encoded, shape=ir.Shape([] if attribute.name == "value_string" else [len(encoded)]))
    if attribute.name in _TYPES:
        return ir.tensor(np.asarray(attribute.value, _TYPES[attribute.name]))
    return None
