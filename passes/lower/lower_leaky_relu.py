from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerLeakyRelu(FormulaLowering):
    """LeakyRelu and PRelu become the positive part plus the scaled negative part.

    `PRelu(x, slope) -> Relu(x) + slope * Min(x, 0)`; the slope of LeakyRelu is its attribute

    Left alone: integers.
    """

    name = "lower-leaky-relu"
    op_types = ("LeakyRelu", "PRelu")
    produces = frozenset({"Add", "Min", "Mul", "Relu"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the sum of both parts."""
        if build.type is None or not build.type.is_floating_point():
            return Declined(f"it computes in {build.type}, of which few targets take the positive part")
        slope = input_at(node, 1) if node.op_type == "PRelu" else attribute(node, "alpha", 0.01)
        return build("Add", build("Relu", x), build("Mul", build("Min", x, 0.0), slope))
