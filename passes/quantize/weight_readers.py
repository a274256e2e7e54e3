"""What reads a weight that DequantizeLinear makes, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import attribute, attribute_list, input_at, is_op, rank
from npuopt.passes.quantize.packing import feature_axis

if TYPE_CHECKING:
    from npuopt.graph import Node


def readers_of(dequantize: Node) -> list[Node]:
    """List what reads the weight, Transpose seen through."""
    found: list[Node] = []
    for use in dequantize.outputs[0].uses():
        if is_op(use.node, "Transpose"):
            found += [inner.node for inner in use.node.outputs[0].uses()]
        else:
            found.append(use.node)
    return list(dict.fromkeys(found))


def multiplies(reader: Node, dequantize: Node) -> bool:
    """Say whether the node multiplies by the weight and sums over its features."""
    weight = input_at(reader, 1)
    maker = None if weight is None else weight.producer()
    turned = maker is not dequantize
    if maker is None or (input_at(reader, 0) or weight) is weight or (rank(input_at(reader, 0)) or 0) < 2:
        return False
    if turned and not (is_op(maker, "Transpose") and attribute_list(maker, "perm", [1, 0]) == [1, 0]):
        return False
    if is_op(reader, "Gemm"):
        plain = attribute(reader, "alpha", 1.0) == attribute(reader, "beta", 1.0) == 1 and not attribute(
            reader, "transA", 0
        )
        turned ^= bool(attribute(reader, "transB", 0))
        if not plain:
            return False
    elif not is_op(reader, "MatMul"):
        return False
    return feature_axis(dequantize) == (1 if turned else 0)


def looks_up(reader: Node) -> bool:
    """Say whether the node picks rows of the weight itself."""
    table = input_at(reader, 0)
    maker = None if table is None else table.producer()
    is_rows = maker is not None and is_op(maker, "DequantizeLinear") and feature_axis(maker) == 1
    return is_op(reader, "Gather") and attribute(reader, "axis", 0) in (0, -2) and is_rows
