from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import constant, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerDivision(FormulaLowering):
    """Div becomes a product with the reciprocal.

    `Div(x, y) -> x * Reciprocal(y)`; of a constant y the reciprocal is computed at once. Where x and y are both
    infinite, or y is among the largest numbers, results differ in the last digits of the type.

    Left alone: integers.
    """

    name = "lower-division"
    op_types = ("Div",)
    produces = frozenset({"Mul", "Reciprocal"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the product."""
        if build.type is None or not build.type.is_floating_point():
            return Declined(f"it computes in {build.type}, which has no reciprocals")
        divisor = input_at(node, 1)
        known = constant(divisor)
        if known is None:
            return build("Mul", x, build("Reciprocal", divisor))
        with np.errstate(divide="ignore", over="ignore"):
            return build("Mul", x, build.array(1 / known.astype(np.float64)))
