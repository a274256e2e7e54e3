from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import element_type, input_at, rank, scalar
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

HIGHEST = 4
"""Powers above cost more products than they are worth."""


@dataclass(frozen=True)
class LowerPower(FormulaLowering):
    """Pow with a small constant exponent becomes products, a root or a reciprocal.

    `Pow(x, 2) -> x * x` (up to 4), `Pow(x, 0.5) -> Sqrt(x)`, `Pow(x, -1) -> Reciprocal(x)`

    Left alone: other exponents; an exponent that is not constant, or whose rank is above that of x. The root of minus
    infinity is NaN, where ONNX has infinity for its power of a half.
    """

    name = "lower-power"
    op_types = ("Pow",)
    produces = frozenset({"Identity", "Mul", "Reciprocal", "Sqrt"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the products, the root or the reciprocal."""
        exponent = scalar(input_at(node, 1))
        if exponent is None:
            return Declined("its exponent is no single constant")
        depth, exponent_rank = rank(x), rank(input_at(node, 1)) or 0
        if exponent_rank and (depth is None or exponent_rank > depth):
            return Declined("its exponent raises the rank")
        if exponent in range(1, HIGHEST + 1):
            power = x if exponent > 1 else build("Identity", x)
            for _ in range(int(exponent) - 1):
                power = build("Mul", power, x)
            return power
        floating = element_type(x)
        if floating is not None and floating.is_floating_point() and exponent in (0.5, -1):
            return build("Sqrt" if exponent > 0 else "Reciprocal", x)
        return Declined(f"its exponent is {exponent}")
