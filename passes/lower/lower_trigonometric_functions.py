from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerTrigonometricFunctions(FormulaLowering):
    """Tan and Acos become the sine, cosine and arc sine that more targets have.

    `Tan(x) -> Sin(x) / Cos(x)`, `Acos(x) -> pi / 2 - Asin(x)`

    Left alone: a node that the target takes.
    """

    name = "lower-trigonometric-functions"
    op_types = ("Tan", "Acos")
    produces = frozenset({"Asin", "Cos", "Div", "Sin", "Sub"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return the quotient or the complement."""
        if node.op_type == "Tan":
            return build("Div", build("Sin", x), build("Cos", x))
        return build("Sub", math.pi / 2, build("Asin", x))
