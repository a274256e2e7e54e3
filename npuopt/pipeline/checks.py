"""What must be true of a model after every pass, whichever pass it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from npuopt.errors import InputError
from npuopt.graph import check, dims, graphs_of, label

if TYPE_CHECKING:
    from npuopt.graph import Graph, Model, Value

Described = tuple[str, str, tuple[int | str | None, ...] | None]
Interface = tuple[tuple[Described, ...], tuple[Described, ...]]


def interface(model: Model) -> Interface:
    """Return the names, types and shapes of the graph's inputs and outputs, in order."""
    graph = model.graph
    return tuple(map(_describe, graph.inputs)), tuple(map(_describe, graph.outputs))


def keeps_interface(before: Interface, after: Interface) -> bool:
    """Say whether a caller sees no difference; more may be known of an output's dims than before."""
    (inputs, outputs), (inputs_after, outputs_after) = before, after
    return inputs == inputs_after and len(outputs) == len(outputs_after) and all(map(_refines, outputs, outputs_after))


def structural_faults(model: Model) -> list[str]:
    """Find broken single assignment, dangling uses and uses ahead of their producer. Linear time."""
    faults: list[str] = []
    _check_graph(model.graph, set(), set(), faults)
    return faults


def checker_fault(model: Model) -> str:
    """Return what the ONNX checker says against the model, or an empty string. No weight is read."""
    try:
        check(model)
    except InputError as error:
        return str(error)
    return ""


def _describe(value: Value) -> Described:
    return value.name or "", str(value.type), dims(value)


def _refines(before: Described, after: Described) -> bool:
    if before[:2] != after[:2]:
        return False
    old, new = before[2], after[2]
    if old is None or new is None:
        return old is None
    settled = (
        left == right or (not isinstance(left, int) and isinstance(right, int))
        for left, right in zip(old, new, strict=False)
    )
    return len(old) == len(new) and all(settled)


def _check_graph(graph: Graph, outer: set[int], names: set[str], faults: list[str]) -> None:
    """Walk one graph in order; `outer` holds the ids of values visible from enclosing graphs."""
    visible = outer | {id(value) for value in (*graph.inputs, *graph.initializers.values())}
    scope = names | {value.name or "" for value in (*graph.inputs, *graph.initializers.values())}
    for node in graph:
        unseen = (value for value in node.inputs if value is not None and id(value) not in visible)
        faults.extend(f"{label(node)} reads {value.name!r}, which nothing before it makes" for value in unseen)
        for subgraph in _subgraphs(node):
            _check_graph(subgraph, visible, scope, faults)
        made = [value for value in node.outputs if value.name]
        faults.extend(
            f"{label(node)} makes {value.name!r}, which is made already" for value in made if value.name in scope
        )
        scope.update(value.name or "" for value in made)
        visible.update(id(value) for value in made)
    orphans = (value for value in graph.outputs if id(value) not in visible)
    faults.extend(f"graph output {value.name!r} is made by nothing" for value in orphans)


def _subgraphs(node: ir.Node) -> list[Graph]:
    found: list[Graph] = []
    for attr in node.attributes.values():
        if attr.type == ir.AttributeType.GRAPH:
            found.append(attr.as_graph())
        elif attr.type == ir.AttributeType.GRAPHS:
            found.extend(attr.as_graphs())
    return found


def count_nodes(model: Model) -> int:
    """Count the nodes of the main graph and its subgraphs."""
    return sum(len(graph) for graph in graphs_of(model))
