from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import element_type, input_at, rank, scalar
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

QUARTERS = (-0.75, -0.25, 0.25, 0.5, 0.75)


@dataclass(frozen=True)
class LowerPowerToReciprocalRoots(FormulaLowering):
    """Pow with a quarter, a half or three quarters becomes powers of -0.5, which some chips have as their only root.

    With r = `Pow(x, -0.5)`: `Pow(x, 0.25) -> Pow(r, -0.5)`, `Pow(x, 0.5) -> Pow(r * r, -0.5)`, and
    `Pow(x, -0.25)` is the reciprocal root of the half; three quarters are a product of two of them.

    Every step is right at zero, at infinities and below zero. Left alone: other exponents; one that is not constant, or
    whose rank is above that of x. Halves of numbers below the least normal one overflow on the way.
    """

    name = "lower-power-to-reciprocal-roots"
    op_types = ("Pow",)
    produces = frozenset({"Mul", "Pow"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the product or the last root."""
        exponent = scalar(input_at(node, 1))
        if exponent is None:
            return Declined("its exponent is no single constant")
        depth, exponent_rank = rank(x), rank(input_at(node, 1)) or 0
        if exponent_rank and (depth is None or exponent_rank > depth):
            return Declined("its exponent raises the rank")
        floating = element_type(x)
        if exponent not in QUARTERS or floating is None or not floating.is_floating_point():
            return Declined(f"its exponent is {exponent}, not one of {', '.join(map(str, QUARTERS))}")
        minus_half = build("Pow", x, -0.5)
        if exponent == 0.25:
            return build("Pow", minus_half, -0.5)
        half = build("Pow", build("Mul", minus_half, minus_half), -0.5)
        if exponent == 0.5:
            return half
        if exponent == 0.75:
            return build("Mul", half, build("Pow", minus_half, -0.5))
        minus_quarter = build("Pow", half, -0.5)
        return minus_quarter if exponent == -0.25 else build("Mul", minus_half, minus_quarter)
