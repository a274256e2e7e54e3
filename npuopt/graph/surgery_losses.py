"""What a round trip through onnx-graphsurgeon loses, taken off before it and put back after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from npuopt.errors import InputError
from npuopt.graph.headers import graph_protos
from npuopt.graph.queries import graphs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_ir as ir

_KINDS = onnx.AttributeProto
_KEPT = {_KINDS.FLOAT, _KINDS.INT, _KINDS.STRING, _KINDS.TENSOR, _KINDS.GRAPH}
_KEPT_UNLESS_EMPTY = {_KINDS.FLOATS: "floats", _KINDS.INTS: "ints", _KINDS.STRINGS: "strings"}

NodeKey = tuple[str, str, str]
"""Domain, op and first output: what tells that a node is still the same."""


def strip(proto: onnx.ModelProto) -> set[tuple[NodeKey, str]]:
    """Remove what graphsurgeon fails on: functions, attributes and value infos of rare types.

    Returns:
        Which attributes were removed from which nodes.

    Raises:
        InputError: for an attribute that holds several graphs, which could not be put back.
    """
    stripped: set[tuple[NodeKey, str]] = set()
    del proto.functions[:]
    for graph in graph_protos(proto.graph):
        infos = [info for info in graph.value_info if info.type.HasField("tensor_type")]
        del graph.value_info[:]
        graph.value_info.extend(infos)
        for node in graph.node:
            kept = [attribute for attribute in node.attribute if _survives(attribute)]
            if len(kept) == len(node.attribute):
                continue
            key = (node.domain, node.op_type, node.output[0] if node.output else "")
            for attribute in node.attribute:
                if attribute.type == _KINDS.GRAPHS:
                    raise InputError(f"node {node.name!r} holds a list of graphs, which graphsurgeon does not know")
                if not _survives(attribute):
                    stripped.add((key, attribute.name))
            del node.attribute[:]
            node.attribute.extend(kept)
    return stripped


def restore(operated: ir.Model, original: ir.Model, stripped: set[tuple[NodeKey, str]]) -> None:
    """Put back into `operated` what graphsurgeon lost of the nodes and values that are still there."""
    _read_outer_constants(operated, original)
    nodes = {_key(node): node for node in original.graph.all_nodes()}
    for node in operated.graph.all_nodes():
        source = nodes.get(_key(node))
        if source is not None:
            _restore_node(node, source, stripped)
    values = {key: value for graph in graphs_of(original) for key, value in _named_values(graph)}
    for graph in graphs_of(operated):
        for key, value in _named_values(graph):
            if key in values:
                _restore_value(value, values[key])
    graphs = {graph.name: graph for graph in graphs_of(original)}
    for graph in graphs_of(operated):
        if graph.name in graphs:
            graph.metadata_props.update(graphs[graph.name].metadata_props)
    operated.graph.opset_imports.update(original.graph.opset_imports | dict(operated.graph.opset_imports))
    _restore_default_inputs(operated.graph, original.graph)


def _survives(attribute: onnx.AttributeProto) -> bool:
    if attribute.type in _KEPT_UNLESS_EMPTY:
        return len(getattr(attribute, _KEPT_UNLESS_EMPTY[attribute.type])) > 0
    if attribute.type == _KINDS.STRING:
        try:
            attribute.s.decode()
        except UnicodeDecodeError:
            return False
    return attribute.type in _KEPT


def _key(node: ir.Node) -> NodeKey:
    return (node.domain, node.op_type, (node.outputs[0].name or "") if node.outputs else "")


def _restore_node(node: ir.Node, source: ir.Node, stripped: set[tuple[NodeKey, str]]) -> None:
    node.doc_string = source.doc_string
    node.overload = source.overload
    node.metadata_props.update(source.metadata_props)
    for name, attribute in source.attributes.items():
        if name in node.attributes and attribute.doc_string:
            node.attributes[name].doc_string = attribute.doc_string
        if (_key(source), name) in stripped and name not in node.attributes:
            node.attributes[name] = attribute
    in_order = [name for name in source.attributes if name in node.attributes]
    for name in [*in_order, *(name for name in list(node.attributes) if name not in source.attributes)]:
        node.attributes[name] = node.attributes.pop(name)


def _named_values(graph: ir.Graph) -> Iterator[tuple[tuple[str, str], ir.Value]]:
    made = (output for node in graph for output in node.outputs)
    for value in (*graph.inputs, *graph.initializers.values(), *made):
        yield (graph.name or "", value.name or ""), value


def _restore_value(value: ir.Value, source: ir.Value) -> None:
    value.doc_string = source.doc_string
    value.metadata_props.update(source.metadata_props)
    value.meta.update(source.meta)  # pyright: ignore[reportUnknownMemberType] -- a UserDict without type arguments
    if value.type is None or value.type == source.type:
        value.type = source.type  # with its denotation
    if value.shape is None or value.shape == source.shape:
        value.shape = source.shape  # with the denotations of its dims


def _read_outer_constants(model: ir.Model, original: ir.Model) -> None:
    """Graphsurgeon gives every subgraph a copy of the outer constants that it reads; let it read those again."""
    outer = model.graph.initializers
    for graph in model.graph.subgraphs():
        for name in [name for name in graph.initializers if name in original.graph.initializers]:
            value = graph.initializers[name]
            if value.is_graph_output():
                continue
            del graph.initializers[name]
            if name in outer:
                value.replace_all_uses_with(outer[name])
            else:
                outer.add(value)


def _restore_default_inputs(graph: ir.Graph, original: ir.Graph) -> None:
    """Graphsurgeon takes inputs that have a default value off the inputs."""
    names = {value.name for value in graph.inputs}
    for index, value in enumerate(original.inputs):
        name = value.name or ""
        if name not in names and name in graph.initializers:
            graph.inputs.insert(min(index, len(graph.inputs)), graph.initializers[name])
