from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerTanh(FormulaLowering):
    """Tanh becomes Sigmoid.

    `Tanh(x) -> 2 * Sigmoid(2 * x) - 1`, exact to the type's digits at 1

    Left alone: a node that the target takes.
    """

    name = "lower-tanh"
    op_types = ("Tanh",)
    produces = frozenset({"Mul", "Sigmoid", "Sub"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return the stretched sigmoid."""
        return build("Sub", build("Mul", build("Sigmoid", build("Mul", x, 2.0)), 2.0), 1.0)
