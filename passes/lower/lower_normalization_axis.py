from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, constant, rank, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerNormalizationAxis(FormulaLowering):
    """A normalization over several axes becomes one over their product, between Reshapes.

    `LayerNormalization<axis = 1>(x, scale, bias) -> Reshape(LayerNormalization<axis = -1>(Reshape(x), Reshape(scale),
    Reshape(bias)))`; RMSNormalization likewise

    Left alone: the last axis alone; a scale or bias of another shape than the normalized axes; shapes that are not
    static or have no elements; a mean or deviation that is read.
    """

    name = "lower-normalization-axis"
    op_types = ("LayerNormalization", "RMSNormalization")
    produces = frozenset({"LayerNormalization", "RMSNormalization", "Reshape"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the normalization of the last axis."""
        shape, axis = static_shape(x), attribute(node, "axis", -1)
        if axis in (-1, (rank(x) or 0) - 1):
            return None
        if shape is None or 0 in shape:
            return Declined("its shape is not static, or has no elements")
        tail = shape[axis:]
        parameters = [value for value in node.inputs[1:] if value is not None]
        if any(static_shape(value) != tail for value in parameters):
            return Declined(f"its scale or bias is not of the shape {list(tail)}")
        flat = build("Reshape", x, build.integers(*shape[:axis], math.prod(tail)))
        kept = {name: attr for name, attr in node.attributes.items() if name != "axis"}
        vectors = [_flat(value, math.prod(tail), build) for value in parameters]
        return build("Reshape", build(node.op_type, flat, *vectors, axis=-1, **kept), build.integers(*shape))


def _flat(value: Value, length: int, build: Builder) -> Value:
    known = constant(value)
    if known is not None:
        return build.edit.constant(known.reshape(-1), near=build.node)
    return build("Reshape", value, build.integers(length))
