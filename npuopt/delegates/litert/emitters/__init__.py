"""One file for each family of ops: tables of ONNX op type -> what writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.delegates.litert.emitters import elementwise, movement, normalizations, products, reductions, windows

if TYPE_CHECKING:
    from npuopt.delegates.litert.step import Emitter
    from npuopt.graph import Node

EMITTERS: dict[str, Emitter] = {
    **elementwise.EMITTERS,
    **movement.EMITTERS,
    **normalizations.EMITTERS,
    **products.EMITTERS,
    **reductions.EMITTERS,
    **windows.EMITTERS,
}
"""Standard op -> its emitter."""

BOTH = frozenset({"int8", "int16"})
ONLY_8_BITS = frozenset({"DepthToSpace", "Elu", "HardSwish", "PRelu", "SpaceToDepth"})
"""Ops whose TFLite operators take int8, but not int16."""
ONLY_FLOAT = frozenset({
    "Cast", "Ceil", "Cos", "CumSum", "Floor", "LayerNormalization", "Reciprocal", "RMSNormalization", "Round", "Sign",
    "Sin",
})  # fmt: skip
"""Ops whose TFLite operators take no quantized data, or compute other numbers with it."""


def integer_kinds(node: Node) -> frozenset[str]:
    """Return in which element types of activations a node is computed without leaving integers."""
    if node.op_type in ONLY_FLOAT or (node.op_type == "Pow" and not elementwise.is_integer_power(node)):
        return frozenset()
    return frozenset({"int8"}) if node.op_type in ONLY_8_BITS else BOTH
