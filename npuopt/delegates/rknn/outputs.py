"""Gives outputs that the graph itself reads too a DequantizeLinear of their own, which the toolkit needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def separate_outputs(model: onnx.ModelProto) -> None:
    """Let the graph read a copy of each DequantizeLinear that makes an output.

    Otherwise the toolkit makes a copy itself, for which it then finds no encoding: `KeyError: 'NAME_dup'`.
    """
    given = {value.name for value in model.graph.output}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type != "DequantizeLinear" or node.output[0] not in given:
            continue
        name, inner = node.output[0], f"{node.output[0]}/inner"
        readers = [other for other in model.graph.node if name in other.input]
        if not readers:
            continue
        for reader in readers:
            reader.input[:] = [inner if one == name else one for one in reader.input]
        copy = type(node)()
        copy.CopyFrom(node)
        copy.name, copy.output[:] = f"{node.name}/inner", [inner]
        nodes.append(copy)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
