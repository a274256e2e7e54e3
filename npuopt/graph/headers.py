"""The model as a proto: whole, or without its weights for the checker, for shape inference and for text."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import onnx
import onnx.helper
import onnx_ir as ir

from npuopt.graph.queries import graphs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

SMALL_CONSTANT = 1024
"""Elements up to which a header keeps a constant's value: enough for any shape, axes or sizes input."""

_HIDDEN = "\0hidden"
"""The external-data location of an initializer whose value a header leaves out; no path can contain a NUL."""


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """Return the whole model, weights included, as a new proto (so below 2 GiB only)."""
    return ir.to_proto(model)


def header_proto(model: ir.Model, keep: int = SMALL_CONSTANT) -> onnx.ModelProto:
    """Return the model as a proto without its weights, which are not even read.

    An initializer of more than `keep` elements stands as an input of the main graph, so that checker and shape
    inference know its type and shape.

    Args:
        model: stays as it is.
        keep: number of elements up to which an initializer's value is kept.
    """
    proto, hidden = _without_weights(model, keep)
    _declare(proto.graph, hidden)
    return proto


def without_external_data(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a proto in which no tensor is external, for the checker, which would look for the files.

    Initializers stand as inputs of the main graph, as in `header_proto`; tensors of attributes are empty.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    hidden: list[onnx.ValueInfoProto] = []
    for graph in graph_protos(copy.graph):
        external = [tensor for tensor in graph.initializer if _is_external(tensor)]
        if external:
            hidden += map(_info, external)
            kept = [tensor for tensor in graph.initializer if not _is_external(tensor)]
            del graph.initializer[:]
            graph.initializer.extend(kept)
    _declare(copy.graph, hidden)
    for tensor in attribute_tensors(copy):
        if _is_external(tensor):
            empty = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=[0], raw_data=b"")
            tensor.CopyFrom(empty)
    return copy


def attribute_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield the tensors in attributes of nodes, those in subgraphs and functions included."""
    for holder in (*graph_protos(proto.graph), *proto.functions):
        for node in holder.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def declared_proto(model: ir.Model, keep: int) -> onnx.ModelProto:
    """Return the model as a proto where an initializer is either there, or a mere value info above `keep` elements."""
    proto, _ = _without_weights(model, keep)
    for graph in graph_protos(proto.graph):
        there = {tensor.name for tensor in graph.initializer}
        infos = [info for info in graph.value_info if info.name not in there]
        del graph.value_info[:]
        graph.value_info.extend(infos)
    return proto


def graph_protos(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield the graph and every subgraph below it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graph_protos(attribute.g)
            for subgraph in attribute.graphs:
                yield from graph_protos(subgraph)


@contextmanager
def weights_hidden(
    model: ir.Model, is_hidden: Callable[[ir.TensorProtocol], bool]
) -> Generator[list[ir.TensorProtocol]]:
    """Put a placeholder without bytes in the place of some initializers, for as long as the context lasts.

    Yields:
        The hidden tensors; `hidden_index` tells which of them a serialized placeholder stands for.
    """
    hidden: list[tuple[ir.Value, ir.TensorProtocol]] = []
    for graph in graphs_of(model):
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and is_hidden(tensor):
                value.const_value = ir.ExternalTensor(
                    _HIDDEN,
                    len(hidden),
                    None,
                    tensor.dtype,
                    shape=ir.Shape(tensor.shape.numpy()),
                    name=value.name or "",
                    doc_string=tensor.doc_string,
                    metadata_props=dict(tensor.metadata_props),
                )
                hidden.append((value, tensor))
    try:
        yield [tensor for _, tensor in hidden]
    finally:
        for value, tensor in hidden:
            value.const_value = tensor


def hidden_index(tensor: onnx.TensorProto) -> int | None:
    """Return the position of the tensor that a placeholder stands for, or None where it is no placeholder."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    return int(entries["offset"]) if entries.get("location") == _HIDDEN else None


def _without_weights(model: ir.Model, keep: int) -> tuple[onnx.ModelProto, list[onnx.ValueInfoProto]]:
    with weights_hidden(model, lambda tensor: tensor.size > keep):
        proto = ir.to_proto(model)
    infos: list[onnx.ValueInfoProto] = []
    for graph in graph_protos(proto.graph):
        hidden = {tensor.name: tensor for tensor in graph.initializer if hidden_index(tensor) is not None}
        if hidden:
            kept = [tensor for tensor in graph.initializer if tensor.name not in hidden]
            del graph.initializer[:]
            graph.initializer.extend(kept)
            noted = {info.name for info in graph.value_info}
            graph.value_info.extend(_info(tensor) for name, tensor in hidden.items() if name not in noted)
            infos += [info for info in graph.value_info if info.name in hidden]
    return proto, infos


def _declare(graph: onnx.GraphProto, hidden: Iterable[onnx.ValueInfoProto]) -> None:
    declared = {info.name for info in graph.input}
    for info in hidden:
        if info.name not in declared:
            declared.add(info.name)
            graph.input.append(info)


def _is_external(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def _info(tensor: onnx.TensorProto) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
