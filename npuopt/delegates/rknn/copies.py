"""Gives some readers of a DequantizeLinear one of their own, without which the toolkit stumbles over it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import onnx

    Nodes = Sequence[onnx.NodeProto]


def separate_outputs(model: onnx.ModelProto) -> None:
    """Let the graph read a copy of each DequantizeLinear that makes an output.

    Otherwise the toolkit makes a copy itself, for which it then finds no encoding: `KeyError: 'NAME_dup'`.
    """
    given = {value.name for value in model.graph.output}
    _copy(model, "inner", lambda node, readers: readers if node.output[0] in given else [])


def separate_floats(model: onnx.ModelProto) -> None:
    """Let nodes in float read a copy of each DequantizeLinear that nodes in 8 bits read too.

    Otherwise the toolkit takes the other readers for float ones too: `Invalid w_par['dtype'] = float16 for WEIGHT!`.
    """
    readers = _readers(model)

    def is_integer(node: onnx.NodeProto) -> bool:
        behind = [reader for made in node.output for reader in readers[made]]
        return bool(behind) and all(reader.op_type == "QuantizeLinear" for reader in behind)

    def in_float(_: onnx.NodeProto, its_readers: Nodes) -> Nodes:
        found = [reader for reader in its_readers if not is_integer(reader)]
        return found if len(found) < len(its_readers) else []

    _copy(model, "floats", in_float)


def _copy(model: onnx.ModelProto, suffix: str, choose: Callable[[onnx.NodeProto, Nodes], Nodes]) -> None:
    """Copy each DequantizeLinear of a run-time tensor for those of its readers that `choose` returns, if any."""
    readers = _readers(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type != "DequantizeLinear" or node.input[0] in constants:
            continue
        name, own = node.output[0], f"{node.output[0]}/{suffix}"
        chosen = choose(node, readers[name])
        if not chosen:
            continue
        for reader in chosen:
            reader.input[:] = [own if one == name else one for one in reader.input]
        copy = type(node)()
        copy.CopyFrom(node)
        copy.name, copy.output[:] = f"{node.name}/{suffix}", [own]
        nodes.append(copy)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _readers(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    found: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in dict.fromkeys(node.input):
            found[name].append(node)
    return found
