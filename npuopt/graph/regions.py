"""Cuts nodes out of a graph as a model of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from npuopt.graph.queries import is_constant, subgraphs_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def values_read(node: ir.Node) -> list[ir.Value]:
    """List the values of the node's own graph that it reads, those that its subgraphs read included, each once."""
    values = [value for value in node.inputs if value is not None]
    for subgraph in subgraphs_of(node):
        outer = [value for inner in subgraph.all_nodes() for value in inner.inputs if value is not None]
        outer += [value for graph in (subgraph, *subgraph.subgraphs()) for value in graph.outputs]
        values += [value for value in outer if value.graph is node.graph]
    return list(dict.fromkeys(values))


def cut_nodes(
    model: ir.Model,
    nodes: Sequence[ir.Node],
    inputs: Sequence[ir.Value],
    outputs: Sequence[ir.Value],
    *,
    name: str,
    constants: Iterable[ir.Value] = (),
) -> ir.Model:
    """Return a copy of some nodes of the main graph, and of the constants they read, as a model.

    Weights are shared with `model`, not copied; `model` stays as it is.

    Args:
        model: the source.
        nodes: in an order in which they can run.
        inputs: become graph inputs; with the constants and the nodes' own outputs all that the nodes read.
        outputs: become graph outputs.
        name: the new graph's name.
        constants: more constants to take along.
    """
    read = [value for node in nodes for value in values_read(node)]
    kept = dict.fromkeys(value for value in (*read, *outputs, *constants) if is_constant(value))
    view = ir.GraphView(
        inputs,
        outputs,
        nodes=nodes,
        initializers=list(kept),
        name=name,
        opset_imports=dict(model.opset_imports),
    )
    return ir.Model(
        view.clone(), ir_version=model.ir_version, producer_name="npuopt", functions=list(model.functions.values())
    )
