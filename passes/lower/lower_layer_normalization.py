from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import DataType, attribute, input_at, rank
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

NARROW = (DataType.FLOAT16, DataType.BFLOAT16)


@dataclass(frozen=True)
class LowerLayerNormalization(FormulaLowering):
    """LayerNormalization becomes means, a root and arithmetic.

    `LayerNormalization<axis, epsilon>(x, scale, bias) -> c / Sqrt(ReduceMean(c * c) + epsilon) * scale + bias`
    with `c = x - ReduceMean(x)`; half precision is computed in float between two Casts, as the standard asks.

    Left alone: an input of unknown rank; a node whose mean or deviation is read.
    """

    name = "lower-layer-normalization"
    op_types = ("LayerNormalization",)
    produces = frozenset({"Add", "Cast", "Div", "Mul", "ReduceMean", "Sqrt", "Sub"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the normalization's definition."""
        depth = rank(x)
        if depth is None:
            return Declined("the rank of its input is not known")
        axes = build.integers(*range(attribute(node, "axis", -1) % depth, depth))
        given = build.type
        wide = given in NARROW and attribute(node, "stash_type", int(DataType.FLOAT)) == DataType.FLOAT
        if wide:
            x = build("Cast", x, to=DataType.FLOAT)
            build.type = DataType.FLOAT
        centered = build("Sub", x, build("ReduceMean", x, axes, keepdims=1))
        variance = build("ReduceMean", build("Mul", centered, centered), axes, keepdims=1)
        deviation = build("Sqrt", build("Add", variance, attribute(node, "epsilon", 1e-5)))
        result = build("Div", centered, deviation)
        if wide:
            result = build("Cast", result, to=given)
        scale, bias = input_at(node, 1), input_at(node, 2)
        result = build("Mul", result, scale)
        return result if bias is None else build("Add", result, bias)
