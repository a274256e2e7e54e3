from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import constant, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerSubtraction(FormulaLowering):
    """Sub becomes Add of the negated.

    `Sub(x, y) -> x + Neg(y)`; a constant y is negated at once.

    Left alone: unsigned integers.
    """

    name = "lower-subtraction"
    op_types = ("Sub",)
    produces = frozenset({"Add", "Neg"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the sum."""
        if build.type is None or not build.type.is_signed():
            return Declined(f"it computes in {build.type}, which has no negative numbers")
        other = input_at(node, 1)
        known = constant(other)
        return build("Add", x, build("Neg", other) if known is None else build.array(-known))
