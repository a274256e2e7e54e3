"""One short text for what a model computes: for caches, and to see whether a pass changed what it says it did."""

from __future__ import annotations

import hashlib
from itertools import count
from typing import TYPE_CHECKING, cast

import onnx_ir as ir

from npuopt.graph.headers import SMALL_CONSTANT
from npuopt.graph.mapped import InFile

if TYPE_CHECKING:
    from collections.abc import Iterable

_DIGEST, _TOKEN = "npuopt.digest", "npuopt.token"
_TOKENS = count()


def fingerprint(model: ir.Model, *, contents: bool = True) -> str:
    """Return a hash of the model's structure and weights; linear in its size.

    Two models have the same one when they have the same graph inputs and outputs (names, types, shapes), the same
    nodes with the same attributes, wired in the same way, and the same constants. Names of inner values and nodes,
    the order of independent nodes, noted shapes, metadata and doc strings do not count.

    Args:
        model: stays as it is.
        contents: whether weights count with their bytes, which are read once and remembered; else each tensor object
            counts as different from any other, which is enough within one process.
    """
    hasher = _Hasher(contents)
    functions = [(*key, hasher.graph(function.graph, {})) for key, function in sorted(model.functions.items())]
    interface = [
        (value.name, str(value.type), str(value.shape)) for value in (*model.graph.inputs, *model.graph.outputs)
    ]
    imports = sorted(model.opset_imports.items())
    return _hash(hasher.graph(model.graph, {}), functions, interface, imports)


class _Hasher:
    """Gives each value the hash of all that it is computed from."""

    def __init__(self, contents: bool) -> None:
        self._contents = contents

    def graph(self, graph: ir.Graph, outer: dict[ir.Value, str], depth: int = 0) -> str:
        values = dict(outer)
        for index, value in enumerate(graph.inputs):
            default = "" if value.const_value is None else self._tensor(value.const_value)
            values[value] = _hash("input", depth, index, default)
        for value in graph.initializers.values():
            if value.const_value is not None and not value.is_graph_input():
                values[value] = self._tensor(value.const_value)
        constants = sorted(values[value] for value in graph.initializers.values() if value in values)
        nodes: list[str] = []
        for node in graph:
            attributes = sorted((name, self._attribute(attr, values, depth)) for name, attr in node.attributes.items())
            inputs = ["" if value is None else values.get(value, f"unseen {value.name}") for value in node.inputs]
            nodes.append(_hash(node.domain, node.op_type, node.overload, attributes, inputs, len(node.outputs)))
            values.update((output, f"{nodes[-1]}:{index}") for index, output in enumerate(node.outputs))
        outputs = [values.get(value, f"unseen {value.name}") for value in graph.outputs]
        return _hash(len(graph.inputs), constants, sorted(nodes), outputs)

    def _attribute(self, attr: ir.Attr, values: dict[ir.Value, str], depth: int) -> str:
        if attr.is_ref():
            return f"{attr.type} from {attr.ref_attr_name}"
        if attr.type == ir.AttributeType.TENSOR:
            return self._tensor(attr.as_tensor())
        if attr.type == ir.AttributeType.TENSORS:
            return _hash(*(self._tensor(tensor) for tensor in attr.as_tensors()))
        if attr.type == ir.AttributeType.GRAPH:
            return self.graph(attr.as_graph(), values, depth + 1)
        if attr.type == ir.AttributeType.GRAPHS:
            return _hash(*(self.graph(graph, values, depth + 1) for graph in attr.as_graphs()))
        return f"{attr.type} {attr.value!r}"

    def _tensor(self, tensor: ir.TensorProtocol) -> str:
        if self._contents or tensor.size <= SMALL_CONSTANT:
            return _hash("constant", *content_key(tensor))
        content = tensor.meta.setdefault(_TOKEN, f"tensor {next(_TOKENS)}")
        return _hash("constant", tensor.dtype, tuple(tensor.shape.numpy()), content)


def content_key(tensor: ir.TensorProtocol) -> tuple[object, ...]:
    """Return what equal tensors have in common: type, shape and a hash of the bytes, which are read in chunks once."""
    content = cast("str | None", tensor.meta.get(_DIGEST))
    if content is None:
        content = tensor.meta[_DIGEST] = _digest(_chunks(tensor))
    return tensor.dtype, tuple(tensor.shape.numpy()), content


def _chunks(tensor: ir.TensorProtocol) -> Iterable[bytes]:
    if isinstance(tensor, InFile):
        return tensor.chunks()
    if isinstance(tensor, ir.StringTensor):
        return [repr(list(tensor.string_data())).encode()]
    return [tensor.tobytes()]


def _digest(chunks: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _hash(*parts: object) -> str:
    return _digest([repr(parts).encode()])
