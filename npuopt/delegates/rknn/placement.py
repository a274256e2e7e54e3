"""Where each node of a region went, from the toolkit's table of layers: its return codes say nothing of it."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

from npuopt.delegates.contract import NodeOnDevice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx

EDGE = frozenset({"InputOperator", "OutputOperator"})
"""Layers that stand for the inputs and outputs of the model."""
MOVING = frozenset({"Reshape", "Transpose", "exDataConvert"})
"""Layers that the toolkit adds to lay out inputs and outputs as the user has them."""
MOVES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"})
"""Nodes that such a layer does too, where they read a graph input or make a graph output."""
CONVERTS = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""Conversions around a node that is asked about; hosts do those at the edge."""
NPU = "NPU"


def nodes_on_device(
    graph: onnx.GraphProto, layers: Sequence[Mapping[str, str]], not_lowered: Sequence[Sequence[str]]
) -> tuple[NodeOnDevice, ...]:
    """Say for every node of the region whether the NPU has it.

    A layer names one node of those that became it; the others are computed with it. Layers of the processor that
    belong to no node are listed under their own name, but for those that only lay out the model's edge. Nodes that
    only move data and are merged with such a layer are at the edge, and so are those that the toolkit moved behind
    all that computes (a Transpose ahead of a Softmax that makes the output).

    Args:
        graph: the region's.
        layers: rows of the table: kind, target, name.
        not_lowered: name and type of nodes that the toolkit leaves to the processor, by its own message.
    """
    known = {node.name: node for node in graph.node}
    edge = _edge(graph)
    left = {name: f"the toolkit has no NPU form of {kind}" for name, kind in not_lowered if name in known}
    strangers: list[NodeOnDevice] = []
    for layer in layers:
        if layer["target"] == NPU or layer["kind"] in EDGE:
            continue
        name = node_name(layer["name"])
        if name in known:
            left.setdefault(name, f"the toolkit's table puts {layer['kind']} on the {layer['target']}")
        elif layer["kind"] not in MOVING:
            why = f"the toolkit's table puts it on the {layer['target']}"
            strangers.append(NodeOnDevice(name, layer["kind"], on_npu=False, reason=why))
    last = _behind_all_that_computes(layers)
    laid_out = {
        name
        for name in left
        if known[name].op_type in MOVES and (name in last or edge & {known[name].input[0], *known[name].output})
    }
    return (
        *(
            NodeOnDevice(name, node.op_type, name not in left, left.get(name, ""), edge=name in laid_out)
            for name, node in known.items()
        ),
        *strangers,
    )


def _edge(graph: onnx.GraphProto) -> set[str]:
    """Name the graph's inputs and outputs, and what only conversions part from them."""
    edge = {value.name for value in (*graph.input, *graph.output)}
    for node in graph.node:
        if node.op_type in CONVERTS and node.input[0] in edge:
            edge.update(node.output)
    for node in reversed(graph.node):
        if node.op_type in CONVERTS and node.output[0] in edge:
            edge.add(node.input[0])
    return edge


def _behind_all_that_computes(layers: Sequence[Mapping[str, str]]) -> set[str]:
    """Name the nodes of the last layers of the table, which has them in the order that they run in."""
    last = takewhile(lambda layer: layer["kind"] in MOVING | EDGE, reversed(layers))
    return {node_name(layer["name"]) for layer in last}


def node_name(full_name: str) -> str:
    """Return the node's name in `Type:name`."""
    return full_name.partition(":")[2] or full_name


def figures(layers: Sequence[Mapping[str, str]], memory: Mapping[str, int]) -> dict[str, Any]:
    """Return the toolkit's estimates: cycles and traffic of all layers, sizes in memory."""
    computing = [layer for layer in layers if layer["kind"] not in EDGE]
    return {
        "cycles": {key: sum(int(layer[key]) for layer in computing) for key in ("dram", "npu", "total")},
        "traffic_bytes": round(sum(float(layer["traffic"]) for layer in computing) * 1024),
        "layers": {
            target: sum(layer["target"] == target for layer in computing)
            for target in sorted({layer["target"] for layer in computing})
        },
        "internal_bytes": memory.get("internal", 0),
        "weights_bytes": memory.get("weight", 0),
    }
