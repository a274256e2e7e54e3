from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerMod(FormulaLowering):
    """Mod of floats becomes a division, rounded towards zero and taken back.

    `Mod<fmod = 1>(x, y) -> x - y * Sign(x / y) * Floor(Abs(x / y))`; where the quotient was rounded up to the next
    integer, and the rest has the sign that x has not, one Abs(y) is given back.

    Left alone: integers.
    """

    name = "lower-mod"
    op_types = ("Mod",)
    produces = frozenset({"Abs", "Add", "Div", "Floor", "Less", "Mul", "Sign", "Sub", "Where"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the rest with the sign of x."""
        y = input_at(node, 1)
        if y is None:
            return None
        if build.type is None or not build.type.is_floating_point():
            return Declined(f"it computes in {build.type}, where a division has no fraction to drop")
        if not attribute(node, "fmod", 0):
            return Declined("fmod is 0, which the standard does not define for floats")
        quotient = build("Div", x, y)
        whole = build("Mul", build("Sign", quotient), build("Floor", build("Abs", quotient)))
        rest = build("Sub", x, build("Mul", y, whole))
        direction = build("Sign", x)
        overshot = build("Less", build("Mul", rest, direction), 0.0)
        return build("Where", overshot, build("Add", rest, build("Mul", direction, build("Abs", y))), rest)
