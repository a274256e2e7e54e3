from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerSoftmax(FormulaLowering):
    """Softmax becomes exponentials and their sum.

    `Softmax<axis>(x) -> e / ReduceSum(e)` with `e = Exp(x - ReduceMax(x))`, which does not overflow

    Left alone: an input whose shape is not static or has no elements, of which there is no largest.
    """

    name = "lower-softmax"
    op_types = ("Softmax",)
    produces = frozenset({"Div", "Exp", "ReduceMax", "ReduceSum", "Sub"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the shares."""
        if 0 in (static_shape(x) or (0,)):
            return Declined("its shape is not static, or has no elements")
        axis = build.integers(attribute(node, "axis", -1))
        powers = build("Exp", build("Sub", x, build("ReduceMax", x, axis, keepdims=1)))
        return build("Div", powers, build("ReduceSum", powers, axis, keepdims=1))
