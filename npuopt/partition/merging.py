"""Which ops a device computes on the results of a layer with weights before these are written."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from npuopt.graph import qualified_op_type
from npuopt.partition.layers import layer_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from npuopt.graph import Node, Value
    from npuopt.partition.storage import Storage


def merged_layers(
    order: Sequence[Node], storage: Storage, ops: Collection[str], kept: Collection[Value]
) -> dict[Node, list[Node]]:
    """Map each node that begins a layer to the ops that are merged with it, in order.

    An op is merged with the layer that makes an operand of its result's size, where nothing else reads that operand;
    of two such layers, with the later one.

    Args:
        order: nodes that compute, as they run.
        storage: which tensors are one buffer.
        ops: types that can be merged.
        kept: values that are needed outside.
    """
    kept_names = {_name(value, storage) for value in kept}
    readers = Counter(_name(value, storage) for node in order for value in node.inputs if value is not None)
    layers: dict[Node, list[Node]] = {}
    begins: dict[str, Node] = {}
    place = {node: index for index, node in enumerate(order)}
    for node in order:
        made = storage.buffer(node.outputs[0])
        first = node
        if made is not None and qualified_op_type(node) in ops:
            operands = (storage.buffer(value) for value in node.inputs if value is not None)
            free = {held.name for held in operands if held is not None and held.bytes == made.bytes}
            free = {name for name in free if name in begins and readers[name] == 1 and name not in kept_names}
            first = max((begins[name] for name in free), key=place.__getitem__, default=node)
        if first is node:
            layers[node] = []
        else:
            layers[first].append(node)
        if made is not None and (first is not node or layer_of(node, storage) is not None):
            begins[made.name] = first
    return layers


def _name(value: Value, storage: Storage) -> str:
    held = storage.buffer(value)
    return "" if held is None else held.name
