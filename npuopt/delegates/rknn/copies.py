"""Parts some readers from a DequantizeLinear, by one of their own or an Identity: else the toolkit stumbles over it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from onnx import TensorProto, helper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import onnx

    Nodes = Sequence[onnx.NodeProto]
    Readers = dict[str, list[onnx.NodeProto]]


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

    def in_float(_: onnx.NodeProto, its_readers: Nodes) -> Nodes:
        found = [reader for reader in its_readers if not _is_integer(reader, readers)]
        return found if len(found) < len(its_readers) else []

    _copy(model, "floats", in_float)


def part_floats(model: onnx.ModelProto) -> None:
    """Put an Identity ahead of nodes that read a DequantizeLinear, or an input, in float; it costs no layer.

    Behind a Relu in 8 bits the toolkit otherwise ends in `KeyError: 'NAME'`, the tensor that the Relu makes; and in a
    model with encodings it adds what comes from an input in 32 bits on the processor.
    """
    readers = _readers(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    pairs = [node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] not in constants]
    if not pairs:
        return
    stems = {node.output[0]: node.name for node in pairs}
    inputs = [one.name for one in model.graph.input if one.type.tensor_type.elem_type == TensorProto.FLOAT]
    stems |= {name: name for name in inputs if name not in constants}
    parts: dict[str, onnx.NodeProto] = {}
    for name, stem in stems.items():
        chosen = [one for one in readers[name] if one.op_type != "QuantizeLinear"]
        if chosen and (name in inputs or not any(_is_integer(one, readers) for one in chosen)):
            parts[name] = helper.make_node("Identity", [name], [f"{name}/parted"], f"{stem}/parted")
            for reader in chosen:
                _read_instead(reader, name, f"{name}/parted")
    nodes = [parts[name] for name in inputs if name in parts]
    for node in model.graph.node:
        nodes += [node, *(parts[name] for name in node.output if name in parts)]
    _replace(model, nodes)


def _is_integer(node: onnx.NodeProto, readers: Readers) -> bool:
    """Say whether all that reads what the node makes quantizes it."""
    behind = [reader for made in node.output for reader in readers[made]]
    return bool(behind) and all(reader.op_type == "QuantizeLinear" for reader in behind)


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
            _read_instead(reader, name, own)
        copy = type(node)()
        copy.CopyFrom(node)
        copy.name, copy.output[:] = f"{node.name}/{suffix}", [own]
        nodes.append(copy)
    _replace(model, nodes)


def _read_instead(reader: onnx.NodeProto, name: str, other: str) -> None:
    reader.input[:] = [other if one == name else one for one in reader.input]


def _replace(model: onnx.ModelProto, nodes: Nodes) -> None:
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _readers(model: onnx.ModelProto) -> Readers:
    found: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in dict.fromkeys(node.input):
            found[name].append(node)
    return found
