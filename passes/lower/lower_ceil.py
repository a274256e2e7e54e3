from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerCeil(FormulaLowering):
    """Ceil becomes Floor between two negations.

    `Ceil(x) -> Neg(Floor(Neg(x)))`, which keeps the sign of zero

    Left alone: a node that the target takes.
    """

    name = "lower-ceil"
    op_types = ("Ceil",)
    produces = frozenset({"Floor", "Neg"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return the mirrored floor."""
        return build("Neg", build("Floor", build("Neg", x)))
