from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerSwish(FormulaLowering):
    """Swish becomes Sigmoid and Mul.

    `Swish<alpha>(x) -> x * Sigmoid(alpha * x)`

    Left alone: a node that the target takes.
    """

    name = "lower-swish"
    op_types = ("Swish",)
    produces = frozenset({"Mul", "Sigmoid"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return `x * Sigmoid(alpha * x)`."""
        alpha = attribute(node, "alpha", 1.0)
        return build("Mul", x, build("Sigmoid", x if alpha == 1 else build("Mul", x, alpha)))
