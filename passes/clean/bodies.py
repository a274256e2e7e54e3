"""One round of a loop's body, moved into the graph that holds the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import infer_node, opset, static_shape, subgraphs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Editor, Graph, Node, Value


def copy_round(body: Graph, given: Sequence[Value], node: Node, edit: Editor) -> list[Value]:
    """Copy what `body` holds ahead of `node`, reading `given` in the place of its inputs; return its results.

    All names are made new. What the body returns without computing it is returned as it was given.
    """
    graph = node.graph
    if graph is None:
        raise ValueError(f"{node.name} is in no graph")
    round_ = body.clone(allow_outer_scope_values=True)
    inputs = list(round_.inputs)
    stands_for = dict(zip(inputs, given, strict=True))
    results = list(round_.outputs)
    round_.outputs.clear()
    for value, replacement in stands_for.items():
        value.replace_all_uses_with(replacement)
    for name, value in list(round_.initializers.items()):
        del round_.initializers[name]
        value.name = edit.fresh_name(name)
        node_graph(node).register_initializer(value)
    inner = list(round_)
    round_.remove(inner)
    for moved in inner:
        _rename(moved, edit)
    graph.insert_before(node, inner)
    for moved in inner:
        _infer(moved, opset(edit.model))
    return [stands_for.get(value, value) for value in results]


def node_graph(node: Node) -> Graph:
    """Return the graph that holds the node, which is no function's body."""
    graph = node.graph
    if graph is None or not hasattr(graph, "register_initializer"):
        raise ValueError(f"{node.name} is in no graph that can hold an initializer")
    return graph  # pyright: ignore[reportReturnType] -- a Graph or a Function, and only the one has initializers


def _infer(node: Node, version: int) -> None:
    """Infer shapes anew where the body has names in them, which may stand for another size in each round."""
    for output in node.outputs:
        if static_shape(output) is None:
            output.shape = None
    infer_node(node, version)


def _rename(node: Node, edit: Editor) -> None:
    """Give a node, its results, and all that its subgraphs hold, names that nothing else has."""
    node.name = edit.fresh_name(node.name or node.op_type)
    for output in node.outputs:
        if output.name:
            output.name = edit.fresh_name(output.name)
    for graph in subgraphs_of(node):
        for value in (*graph.inputs, *graph.initializers.values()):
            if value.name:
                value.name = edit.fresh_name(value.name)
        for inner in graph:
            _rename(inner, edit)
