from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerNegation(FormulaLowering):
    """Neg becomes a product with -1.

    `Neg(x) -> x * -1`, which unlike `0 - x` keeps the sign of zero

    Left alone: a node that the target takes.
    """

    name = "lower-negation"
    op_types = ("Neg",)
    produces = frozenset({"Mul"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return `x * -1`."""
        return build("Mul", x, -1)
