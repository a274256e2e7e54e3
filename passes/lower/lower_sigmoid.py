from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerSigmoid(FormulaLowering):
    """Sigmoid becomes an exponential and a reciprocal.

    `Sigmoid(x) -> Reciprocal(1 + Exp(-x))`, whose exponential may become infinite, which gives 0

    Left alone: a node that the target takes.
    """

    name = "lower-sigmoid"
    op_types = ("Sigmoid",)
    produces = frozenset({"Add", "Exp", "Neg", "Reciprocal"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return the logistic function."""
        return build("Reciprocal", build("Add", build("Exp", build("Neg", x)), 1.0))
