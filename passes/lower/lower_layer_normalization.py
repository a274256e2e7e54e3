from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, rank
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.wide_normalization import centered_and_variance, computed_wide
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


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

        def normalized(x: Value) -> Value:
            centered, variance = centered_and_variance(x, axes, build)
            return build("Div", centered, build("Sqrt", build("Add", variance, attribute(node, "epsilon", 1e-5))))

        scale, bias = input_at(node, 1), input_at(node, 2)
        result = build("Mul", computed_wide(node, x, build, normalized), scale)
        return result if bias is None else build("Add", result, bias)
