"""How blocks of pixels that move to channels, or back, are read off Reshape, Transpose and Reshape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import DataType, attribute_list, dims, element_type, has_one_use, input_at, producer
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Node, Value

Shape = tuple[int | str | None, ...]
COVERED = (DataType.FLOAT, DataType.DOUBLE)
"""Element types that ONNX Runtime moves."""


def read_blocks(node: Node) -> tuple[Value, Shape, tuple[int, ...]] | Declined | None:
    """Return x, the shape of rank 6 that it is read in, and the order of those axes, where `node` ends such a move.

    What is checked: that x and the result are of rank 4, that batches stay, and that nothing between is seen from
    outside.
    """
    turned = producer(input_at(node, 0), "Transpose")
    parted = producer(input_at(turned, 0), "Reshape") if turned is not None else None
    source = input_at(parted, 0) if parted is not None else None
    if turned is None or parted is None or source is None:
        return None
    before, between, after = dims(source), dims(parted.outputs[0]), dims(node.outputs[0])
    if before is None or between is None or after is None or (len(before), len(between), len(after)) != (4, 6, 4):
        return None
    if not (has_one_use(parted.outputs[0]) and has_one_use(turned.outputs[0])):
        return Declined("what lies between its Reshapes is read elsewhere or is a graph output")
    if before[0] is None or not before[0] == between[0] == after[0]:
        return Declined(f"its Reshapes may change the batch: {before[0]}, {between[0]}, {after[0]}")
    if not all(isinstance(size, int) and size for size in (*before[1:], *between[1:], *after[1:])):
        return Declined("its shapes are not known, or have no elements")
    if element_type(source) not in COVERED:
        return Declined(f"it moves {element_type(source)}")
    return source, between, tuple(attribute_list(turned, "perm"))
