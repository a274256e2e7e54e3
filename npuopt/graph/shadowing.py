"""Initializers of subgraphs get names of their own, so that what leaves its subgraph still means the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph.queries import graphs_of, subgraphs_of

if TYPE_CHECKING:
    import onnx_ir as ir


def end_shadowing(model: ir.Model) -> None:
    """Rename every initializer of a subgraph that hides a value of an enclosing graph."""
    if not any(graph.initializers for graph in graphs_of(model) if graph is not model.graph):
        return
    every = {name for graph in graphs_of(model) for name in _names(graph)}
    _end_below(model.graph, set(), every)


def _end_below(graph: ir.Graph, outer: set[str], every: set[str]) -> None:
    for name in [name for name in graph.initializers if name in outer]:
        value = graph.initializers.pop(name)
        number = 1
        while f"{name}_{number}" in every:
            number += 1
        value.name = f"{name}_{number}"
        every.add(value.name)
        graph.register_initializer(value)
    visible = outer | _names(graph)
    for node in graph:
        for subgraph in subgraphs_of(node):
            _end_below(subgraph, visible, every)


def _names(graph: ir.Graph) -> set[str]:
    made = (output for node in graph for output in node.outputs)
    return {value.name for value in (*graph.inputs, *graph.initializers.values(), *made) if value.name}
