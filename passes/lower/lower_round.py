from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerRound(FormulaLowering):
    """Round becomes Floor and comparisons.

    `Round(x) -> Sign(x) * r` with `a = Abs(x)`, `f = Floor(a)` and r the nearer of f and f + 1, the even one halfway;
    by its magnitude, so that what rounds to zero keeps its sign.

    Left alone: a node that the target takes.
    """

    name = "lower-round"
    op_types = ("Round",)
    produces = frozenset({"Abs", "Add", "Equal", "Floor", "Greater", "Mul", "Sign", "Sub", "Where"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return the nearest integer."""
        magnitude = build("Abs", x)
        below = build("Floor", magnitude)
        rest = build("Sub", magnitude, below)
        half = build("Mul", below, 0.5)
        odd = build("Greater", build("Sub", half, build("Floor", half)), 0.0)
        halfway = build("Where", odd, build("Add", below, 1.0), below)
        nearest = build("Where", build("Greater", rest, 0.5), build("Add", below, 1.0), below)
        rounded = build("Where", build("Equal", rest, 0.5), halfway, nearest)
        return build("Mul", build("Sign", x), rounded)
