from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerSquareRoot(FormulaLowering):
    """Sqrt becomes half of a logarithm, and its power.

    `Sqrt(x) -> Exp(Log(x) / 2)`, right at zero and infinity and not a number below zero, as the root is

    Left alone: a node that the target takes.
    """

    name = "lower-square-root"
    op_types = ("Sqrt",)
    produces = frozenset({"Exp", "Log", "Mul"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return the power of half the logarithm."""
        return build("Exp", build("Mul", build("Log", x), 0.5))
