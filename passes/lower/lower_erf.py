from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import DataType
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

SLOPE = 0.3275911
COEFFICIENTS = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
"""Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: absolute error below 1.5e-7."""


@dataclass(frozen=True)
class LowerErf(FormulaLowering):
    """Erf becomes a polynomial times an exponential, as exact as float32 can hold.

    `Erf(x) -> Sign(x) * (1 - p(t) * Exp(-x * x))` with `t = 1 / (1 + 0.3275911 * Abs(x))`, p of degree 5;
    the absolute error is below 1.5e-7.

    Left alone: double, which holds more digits than the formula gives.
    """

    name = "lower-erf"
    op_types = ("Erf",)
    produces = frozenset({"Abs", "Add", "Exp", "Mul", "Neg", "Reciprocal", "Sign", "Sub"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return Abramowitz and Stegun's formula."""
        if build.type not in (DataType.FLOAT, DataType.FLOAT16, DataType.BFLOAT16):
            return Declined(f"the formula is exact to 1.5e-7 only, too little for {build.type}")
        t = build("Reciprocal", build("Add", build("Mul", build("Abs", x), SLOPE), 1.0))
        first, *rest = COEFFICIENTS
        series = build("Mul", t, first)
        for factor in rest:
            series = build("Mul", build("Add", series, factor), t)
        tail = build("Mul", series, build("Exp", build("Neg", build("Mul", x, x))))
        return build("Mul", build("Sign", x), build("Sub", 1.0, tail))
