"""Questions about the whole graph, asked of a throwaway networkx view of node indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import networkx as nx

from npuopt.graph.mapped import byte_length
from npuopt.graph.queries import is_constant, label, static_shape
from npuopt.graph.regions import values_read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx_ir as ir


class Lifetime(NamedTuple):
    """The steps, by node index, from which and up to which a value must be in memory; -1 is before the first."""

    first: int
    last: int


def dataflow(graph: ir.Graph) -> nx.DiGraph[int]:
    """Return which node needs which, as indexes in graph order; what a subgraph reads, its node reads.

    Each node carries its `label` and `op_type`, each edge the names of the `values` that flow along it.
    """
    view: nx.DiGraph[int] = nx.DiGraph()
    index_of = {node: index for index, node in enumerate(graph)}
    for node, index in index_of.items():
        view.add_node(index, label=label(node), op_type=node.op_type)
    for node, index in index_of.items():
        for value in values_read(node):
            maker = value.producer()
            if maker is not None and maker in index_of:
                before = index_of[maker]
                known: tuple[str, ...] = view.edges[before, index]["values"] if view.has_edge(before, index) else ()
                view.add_edge(before, index, values=(*known, value.name or ""))
    return view


def topological_order(view: nx.DiGraph[int]) -> list[int]:
    """Return an order in which the nodes can run, as close to the graph's own as can be.

    Raises:
        networkx.NetworkXUnfeasible: when there is a cycle.
    """
    return list(nx.lexicographical_topological_sort(view))


def longest_path(view: nx.DiGraph[int], cost: Callable[[int], float] = lambda _: 1.0) -> list[int]:
    """Return the path of the largest total cost: what the run time cannot fall below, however parallel.

    Args:
        view: without cycles.
        cost: of a node; 1 for each by default, which gives the depth.
    """
    total: dict[int, float] = {}
    best_before: dict[int, int | None] = {}
    for index in topological_order(view):
        best_before[index] = max(view.predecessors(index), key=total.__getitem__, default=None)
        before = best_before[index]
        total[index] = cost(index) + (0.0 if before is None else total[before])
    path: list[int] = []
    current = max(total, key=total.__getitem__, default=None)
    while current is not None:
        path.append(current)
        current = best_before[current]
    return path[::-1]


def lifetimes(graph: ir.Graph) -> dict[ir.Value, Lifetime]:
    """Return when each value but the constants must be in memory if the nodes run in graph order.

    Graph inputs live from before the first step to their last use, graph outputs to the end.
    """
    alive = {value: Lifetime(-1, -1) for value in graph.inputs if not is_constant(value)}
    step = -1
    for step, node in enumerate(graph):
        for value in values_read(node):
            if value in alive:
                alive[value] = Lifetime(alive[value].first, step)
        alive.update((value, Lifetime(step, step)) for value in node.outputs)
    for value in graph.outputs:
        if value in alive:
            alive[value] = Lifetime(alive[value].first, step)
    return alive


def peak_bytes(graph: ir.Graph) -> int | None:
    """Return the most bytes of values that are alive at one step, constants aside; None where a shape is unknown."""
    changes: dict[int, int] = {}
    for value, (first, last) in lifetimes(graph).items():
        size = _bytes(value)
        if size is None:
            return None
        changes[first] = changes.get(first, 0) + size
        changes[last + 1] = changes.get(last + 1, 0) - size
    peak = current = 0
    for step in sorted(changes):
        current += changes[step]
        peak = max(peak, current)
    return peak


def to_dot(view: nx.DiGraph[int], colours: Mapping[int, str] | None = None) -> str:
    """Write the view in Graphviz' DOT language, nodes filled with the given colours."""
    lines = ["digraph {", "  node [shape=box, style=filled, fillcolor=white]"]
    for index, data in view.nodes(data=True):
        fill = f", fillcolor={_quoted(colours[index])}" if colours and index in colours else ""
        lines.append(f"  n{index} [label={_quoted(data['op_type'])}, tooltip={_quoted(data['label'])}{fill}]")
    for before, after, data in view.edges(data=True):
        lines.append(f"  n{before} -> n{after} [tooltip={_quoted(', '.join(data['values']))}]")
    return "\n".join([*lines, "}"]) + "\n"


def _bytes(value: ir.Value) -> int | None:
    if not value.name:
        return 0  # an optional output that is left out
    shape = static_shape(value)
    if shape is None or value.dtype is None:
        return None
    return byte_length(value.dtype, shape)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
