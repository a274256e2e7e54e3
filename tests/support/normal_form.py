"""ONNX text in which names, node order and constants' bytes no longer matter, so that two graphs can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import unified_diff
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.printer

from npuopt.graph import to_proto

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.graph import Model

CONSTANT_TOLERANCE = 1e-5
"""Relative; what is written by hand in a test's `after` is rounded."""


@dataclass(frozen=True)
class NormalForm:
    """A graph's structure as text, and its constants in order of first use."""

    structure: str
    constants: tuple[np.ndarray, ...]

    def differences(self, other: NormalForm) -> str:
        """Return a unified diff, or an empty string when both are the same graph."""
        if self.structure == other.structure and all(map(_same, self.constants, other.constants)):
            return ""
        return "\n".join(unified_diff(self.lines(), other.lines(), "expected", "got", lineterm="", n=50))

    def lines(self) -> list[str]:
        """Return the structure and the constants for a person to read."""
        shown = [np.array2string(item, precision=9, threshold=64).replace("\n", "") for item in self.constants]
        return [*self.structure.splitlines(), *(f"constant {i}: {text}" for i, text in enumerate(shown))]


def normal_form(model: Model) -> NormalForm:
    """Rename every value but the graph's inputs and outputs, in topological order seen from the outputs.

    Node names, doc strings, metadata and value infos are left out.
    """
    proto = to_proto(model)
    proto.graph.name = "g"
    proto.ClearField("metadata_props")
    proto.ClearField("producer_name")
    proto.ClearField("producer_version")
    constants: list[np.ndarray] = []
    kept = [value.name for value in (*proto.graph.input, *proto.graph.output)]
    _normalize(proto.graph, {name: name for name in kept}, constants, [0])
    return NormalForm(onnx.printer.to_text(proto), tuple(constants))


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.kind != "f":
        return bool(np.array_equal(left, right))
    return bool(np.allclose(left, right, rtol=CONSTANT_TOLERANCE, atol=0, equal_nan=True))


def _normalize(graph: onnx.GraphProto, names: dict[str, str], constants: list[np.ndarray], count: list[int]) -> None:
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    order = _from_outputs(graph)
    del graph.node[:]
    graph.node.extend(order)
    graph.ClearField("value_info")
    graph.ClearField("metadata_props")
    graph.ClearField("doc_string")
    del graph.initializer[:]
    for value in (*graph.input, *graph.output):
        value.ClearField("metadata_props")
        value.name = _name(value.name, names, count)
    for node in graph.node:
        for name in _reads(node):
            if name in initializers:
                constants.append(onnx.numpy_helper.to_array(initializers.pop(name)))
                _name(name, names, count)
        _normalize_node(node, names, constants, count)
    for name in sorted(initializers):
        constants.append(onnx.numpy_helper.to_array(initializers[name]))
        graph.initializer.add(name=f"unread {_name(name, names, count)}", data_type=1)


def _normalize_node(node: onnx.NodeProto, names: dict[str, str], constants: list[np.ndarray], count: list[int]) -> None:
    for field in ("name", "doc_string", "metadata_props"):
        node.ClearField(field)
    node.input[:] = [_name(name, names, count) for name in node.input]
    attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
    del node.attribute[:]
    node.attribute.extend(attributes)
    for subgraph in _subgraphs(node):
        subgraph.name = "subgraph"
        _normalize(subgraph, dict(names), constants, count)
    node.output[:] = [_name(name, names, count) for name in node.output]


def _name(name: str, names: dict[str, str], count: list[int]) -> str:
    if name and name not in names:
        count[0] += 1
        names[name] = f"_{count[0]}"
    return names.get(name, "")


def _from_outputs(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Order the nodes depth first from the outputs; nodes that lead to none come last."""
    makers = {name: node for node in graph.node for name in node.output if name}
    ordered: dict[int, onnx.NodeProto] = {}

    def visit(node: onnx.NodeProto) -> None:
        if id(node) in ordered:
            return
        for name in _reads(node):
            if name in makers:
                visit(makers[name])
        ordered[id(node)] = node

    for value in graph.output:
        if value.name in makers:
            visit(makers[value.name])
    for node in graph.node:
        visit(node)
    copies = []
    for node in ordered.values():
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    return copies


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names a node reads, those that its subgraphs mention included."""
    yield from node.input
    for subgraph in _subgraphs(node):
        for inner in subgraph.node:
            yield from _reads(inner)
        yield from (output.name for output in subgraph.output)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs
