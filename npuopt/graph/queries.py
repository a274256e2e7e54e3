"""Questions about nodes and values: read-only, cheap, and never touching weights unless asked for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Sequence

STANDARD_DOMAINS = ("", "ai.onnx")
NO_NAMES = ("", "?", "*", "-1", "None")
HOLDS_GRAPHS = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""The standard ops that have graphs as attributes."""
AttributeValue = TypeVar("AttributeValue", int, float, str)


def graphs_of(model: ir.Model) -> Iterator[ir.Graph]:
    """Yield the main graph and every subgraph below it (function bodies excluded), each ahead of those in it."""
    return _with_subgraphs(model.graph)


def subgraphs_of(node: ir.Node) -> list[ir.Graph]:
    """List the graphs that the node holds as attributes (branches, loop bodies), not those below them."""
    found: list[ir.Graph] = []
    if node.op_type not in HOLDS_GRAPHS and node.domain in STANDARD_DOMAINS:
        return found
    for attr in node.attributes.values():
        if attr.is_ref():
            continue
        if attr.type == ir.AttributeType.GRAPH:
            found.append(attr.as_graph())
        elif attr.type == ir.AttributeType.GRAPHS:
            found.extend(attr.as_graphs())
    return found


def nodes(model: ir.Model, *op_types: str) -> list[ir.Node]:
    """List the nodes of the given types (`domain::Name` outside ONNX), or all nodes when none is given.

    A snapshot in graph order, subgraphs included: safe to edit the graph while walking it.
    """
    every = nodes_in(model.graph)
    if not op_types:
        return every
    wanted = frozenset(op_types)
    return [node for node in every if qualified_op_type(node) in wanted]


def nodes_in(graph: ir.Graph | ir.Function) -> list[ir.Node]:
    """List the nodes of a graph or function in its order, each ahead of those in its subgraphs."""
    found: list[ir.Node] = []
    for node in graph:
        found.append(node)
        if node.domain or node.op_type in HOLDS_GRAPHS:
            for subgraph in subgraphs_of(node):
                found += nodes_in(subgraph)
    return found


def _with_subgraphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    yield graph
    for node in graph:
        if node.domain or node.op_type in HOLDS_GRAPHS:
            for subgraph in subgraphs_of(node):
                yield from _with_subgraphs(subgraph)


def qualified_op_type(node: ir.Node) -> str:
    """Return the op's name as descriptors write it: `Conv` for a standard op, `domain::Name` for any other."""
    return node.op_type if node.domain in STANDARD_DOMAINS else f"{node.domain}::{node.op_type}"


def producer(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """Return the standard-domain node that makes `value`, if it is of one of the given types (any if none)."""
    node = value.producer() if value is not None else None
    if node is None or (op_types and not is_op(node, *op_types)):
        return None
    return node


def is_op(node: ir.Node, *op_types: str) -> bool:
    """Say whether `node` is one of these standard-domain ops."""
    return node.op_type in op_types and node.domain in STANDARD_DOMAINS


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """Return the input at `index`, or None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def users(value: ir.Value) -> list[ir.Node]:
    """List the nodes that read `value`, those in subgraphs included, each once."""
    return list(dict.fromkeys(use.node for use in value.uses()))


def only_user(value: ir.Value) -> ir.Node | None:
    """Return the one node that reads `value`, or None when there are more, none, or it is a graph output."""
    uses = value.uses()
    if not uses or value.is_graph_output():
        return None
    first = next(iter(uses)).node
    return first if all(use.node is first for use in uses) else None


def has_one_use(value: ir.Value) -> bool:
    """Say whether `value` is read exactly once and is no graph output."""
    return len(value.uses()) == 1 and not value.is_graph_output()


def is_constant(value: ir.Value | None) -> bool:
    """Say whether `value` is known at compile time: an initializer that no caller can override."""
    return value is not None and value.const_value is not None and not value.is_graph_input()


def constant(value: ir.Value | None) -> np.ndarray | None:
    """Return a compile-time value as a numpy array (mapped where the file is), or None when it is not known."""
    if value is None or not is_constant(value):
        return None
    return cast("ir.TensorProtocol", value.const_value).numpy()


def scalar(value: ir.Value | None) -> float | None:
    """Return the single number that a constant holds, whatever its rank, or None."""
    if value is None or not is_constant(value) or cast("ir.TensorProtocol", value.const_value).size != 1:
        return None
    array = constant(value)
    if array is None:
        return None
    # bfloat16, float8 and int4 are of numpy's kind V, and convert all the same
    return float(array.reshape(()).astype(np.float64)) if array.dtype.kind in "fiubV" else None


def integers(value: ir.Value | None) -> list[int] | None:
    """Return a constant integer tensor of rank <= 1 as a list, or None."""
    array = constant(value)
    if array is None or array.ndim > 1 or array.dtype.kind not in "iu":
        return None
    return [int(item) for item in array.reshape(-1)]


def attribute(node: ir.Node, name: str, default: AttributeValue) -> AttributeValue:
    """Return the attribute's value, or `default` when it is absent. Types: int, float, str."""
    found = node.attributes.get(name)
    return default if found is None or found.value is None else cast("AttributeValue", found.value)


def attribute_list(node: ir.Node, name: str, default: Sequence[int] = ()) -> list[int]:
    """Return an `ints` attribute as a list, or `default` when it is absent."""
    found = node.attributes.get(name)
    return list(default) if found is None else [int(item) for item in found.as_ints()]


def rank(value: ir.Value | None) -> int | None:
    """Return the number of dimensions, or None when unknown."""
    return None if value is None or value.shape is None else len(value.shape)


def dims(value: ir.Value | None) -> tuple[int | str | None, ...] | None:
    """Return the shape with ints for known dims, names for symbolic ones and None for unknown ones.

    Two dims of the same name are equal; what exporters write for want of a name is none.
    """
    if value is None or value.shape is None:
        return None
    return tuple(
        dim if isinstance(dim, int) else None if dim.value in NO_NAMES else dim.value for dim in value.shape.dims
    )


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """Return the shape when every dim is a known int, else None."""
    shape = dims(value)
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        return None
    return cast("tuple[int, ...]", shape)


def element_type(value: ir.Value | None) -> ir.DataType | None:
    """Return the tensor's element type, or None when unknown."""
    return None if value is None else value.dtype


def opset(model: ir.Model) -> int:
    """Return the version of the standard domain that the model imports."""
    imports = model.opset_imports
    return imports.get("", imports.get("ai.onnx", 0))


def label(node: ir.Node) -> str:
    """Name a node for a person: its own name, or its type and first output."""
    if node.name:
        return node.name
    first = node.outputs[0].name if node.outputs else ""
    return f"{node.op_type}({first})"
