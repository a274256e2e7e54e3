from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, rank
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.wide_normalization import computed_wide
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerRmsNormalization(FormulaLowering):
    """RMSNormalization becomes a mean of squares, a root and arithmetic.

    `RMSNormalization<axis, epsilon>(x, scale) -> x / Sqrt(ReduceMean(x * x) + epsilon) * scale`; half precision is
    computed in float between two Casts, as the standard asks.

    Left alone: an input of unknown rank.
    """

    name = "lower-rms-normalization"
    op_types = ("RMSNormalization",)
    produces = frozenset({"Add", "Cast", "Div", "Mul", "ReduceMean", "Sqrt"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the normalization's definition."""
        depth = rank(x)
        if depth is None:
            return Declined("the rank of its input is not known")
        axes = build.integers(*range(attribute(node, "axis", -1) % depth, depth))

        def normalized(x: Value) -> Value:
            square = build("ReduceMean", build("Mul", x, x), axes, keepdims=1)
            return build("Div", x, build("Sqrt", build("Add", square, attribute(node, "epsilon", 1e-5))))

        return build("Mul", computed_wide(node, x, build, normalized), input_at(node, 1))
