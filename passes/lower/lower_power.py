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

    `Pow(x, 2) -> x * x` (up to 4), `Pow(x, 0.5) -> Sqrt(x)`, `Pow(x, -1) -> Reciprocal(x)`; a quarter is the root of a
    root, three quarters the product of both.

    Left alone: other exponents; an exponent that is not constant, or whose rank is above that of x. The root of minus
    infinity is NaN, where ONNX has infinity for its powers.
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
        if floating is None or not floating.is_floating_point() or exponent not in (-1, 0.25, 0.5, 0.75):
            return Declined(f"its exponent is {exponent}")
        if exponent == -1:
            return build("Reciprocal", x)
        root = build("Sqrt", x)
        if exponent == 0.5:
            return root
        quarter = build("Sqrt", root)
        return quarter if exponent == 0.25 else build("Mul", root, quarter)
