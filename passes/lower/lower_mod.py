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
    """Mod becomes a division, rounded towards zero and taken back.

    `Mod<fmod = 1>(x, y) -> x - y * Sign(x / y) * Floor(Abs(x / y))`; where the quotient was rounded up to the next
    integer, and the rest has the sign that x has not, one Abs(y) is given back. Of integers `Mod(x, y) -> x - y *
    (x / y)`, to which y is added, unless `fmod` is set, where it has the sign that y has not.

    Left alone: floats without `fmod`; bool.
    """

    name = "lower-mod"
    op_types = ("Mod",)
    produces = frozenset({"Abs", "Add", "Div", "Floor", "Greater", "Less", "Mul", "Sign", "Sub", "Where"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the rest with the sign of x, or that of y."""
        y = input_at(node, 1)
        if y is None or build.type is None:
            return None
        if build.type.is_integer():
            return _of_integers(x, y, build, truncated=bool(attribute(node, "fmod", 0)))
        if not build.type.is_floating_point():
            return Declined(f"it computes in {build.type}")
        if not attribute(node, "fmod", 0):
            return Declined("fmod is 0, which the standard does not define for floats")
        quotient = build("Div", x, y)
        whole = build("Mul", build("Sign", quotient), build("Floor", build("Abs", quotient)))
        rest = build("Sub", x, build("Mul", y, whole))
        direction = build("Sign", x)
        overshot = build("Less", build("Mul", rest, direction), 0.0)
        return build("Where", overshot, build("Add", rest, build("Mul", direction, build("Abs", y))), rest)


def _of_integers(x: Value, y: Value, build: Builder, *, truncated: bool) -> Value:
    rest = build("Sub", x, build("Mul", y, build("Div", x, y)))
    if truncated or build.type is None or not build.type.is_signed():
        return rest
    moved = build("Add", rest, y)
    of_positive = build("Where", build("Less", rest, 0), moved, rest)
    of_negative = build("Where", build("Greater", rest, 0), moved, rest)
    return build("Where", build("Less", y, 0), of_negative, of_positive)
