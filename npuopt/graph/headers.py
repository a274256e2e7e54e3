"""The model as a proto that carries no weights: for the checker, for shape inference, for text."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import onnx

SMALL_CONSTANT = 1024
"""Elements up to which a header keeps a constant's value: enough for any shape, axes or sizes input."""

_HIDDEN = "hidden by npuopt"
"""The external-data location that marks an initializer whose value a header leaves out."""


def header_proto(model: ir.Model, keep: int = SMALL_CONSTANT) -> onnx.ModelProto:
    """Return the model as a proto without its weights, which are not even read.

    An initializer of more than `keep` elements stands as an input of the main graph, so that checker and shape
    inference know its type and shape.

    Args:
        model: stays as it is.
        keep: number of elements up to which an initializer's value is kept.
    """
    proto, hidden = _without_weights(model, keep)
    declared = {info.name for info in proto.graph.input}
    for info in hidden:
        if info.name not in declared:
            declared.add(info.name)
            proto.graph.input.append(info)
    return proto


def declared_proto(model: ir.Model, keep: int) -> onnx.ModelProto:
    """Return the model as a proto whose initializers of more than `keep` elements are mere value infos."""
    return _without_weights(model, keep)[0]


def graph_protos(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield the graph and every subgraph below it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graph_protos(attribute.g)
            for subgraph in attribute.graphs:
                yield from graph_protos(subgraph)


def _without_weights(model: ir.Model, keep: int) -> tuple[onnx.ModelProto, list[onnx.ValueInfoProto]]:
    with _weights_hidden(model, keep):
        proto = ir.to_proto(model)
    infos: list[onnx.ValueInfoProto] = []
    for graph in graph_protos(proto.graph):
        hidden = {tensor.name for tensor in graph.initializer if _is_hidden(tensor)}
        if hidden:
            kept = [tensor for tensor in graph.initializer if tensor.name not in hidden]
            del graph.initializer[:]
            graph.initializer.extend(kept)
            infos += [info for info in graph.value_info if info.name in hidden]
    return proto, infos


@contextmanager
def _weights_hidden(model: ir.Model, keep: int) -> Generator[None]:
    """Put a tensor that has no bytes in the place of every large one, for as long as the context lasts."""
    hidden: list[tuple[ir.Value, ir.TensorProtocol]] = []
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and tensor.size > keep:
                hidden.append((value, tensor))
                shape = ir.Shape(tensor.shape.numpy())
                value.const_value = ir.ExternalTensor(
                    _HIDDEN, None, None, tensor.dtype, shape=shape, name=value.name or ""
                )
    try:
        yield
    finally:
        for value, tensor in hidden:
            value.const_value = tensor


def _is_hidden(tensor: onnx.TensorProto) -> bool:
    return any(entry.key == "location" and entry.value == _HIDDEN for entry in tensor.external_data)
