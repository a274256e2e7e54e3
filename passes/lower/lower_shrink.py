from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerShrink(FormulaLowering):
    """Shrink becomes two comparisons and two selections.

    `Shrink<lambd, bias>(x) -> Where(x < -lambd, x + bias, Where(x > lambd, x - bias, 0))`

    Left alone: integers, whose comparison with a fractional bound would round the bound.
    """

    name = "lower-shrink"
    op_types = ("Shrink",)
    produces = frozenset({"Add", "Greater", "Less", "Sub", "Where"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the two selections."""
        if build.type is None or not build.type.is_floating_point():
            return Declined(f"its bounds do not fit into {build.type}")
        bound, bias = attribute(node, "lambd", 0.5), attribute(node, "bias", 0.0)
        above = build("Where", build("Greater", x, bound), build("Sub", x, bias) if bias else x, 0.0)
        return build("Where", build("Less", x, -bound), build("Add", x, bias) if bias else x, above)
