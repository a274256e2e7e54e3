from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerFloatTests(FormulaLowering):
    """IsInf and IsNaN become comparisons.

    `IsInf(x) -> Equal(Abs(x), inf)`, of one sign only `Equal(x, inf)`; `IsNaN(x) -> Not(Equal(x, x))`

    Left alone: IsInf that asks for neither sign.
    """

    name = "lower-float-tests"
    op_types = ("IsInf", "IsNaN")
    produces = frozenset({"Abs", "Equal", "Not"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the comparison."""
        if node.op_type == "IsNaN":
            return build("Not", build("Equal", x, x))
        negative, positive = attribute(node, "detect_negative", 1), attribute(node, "detect_positive", 1)
        if negative and positive:
            return build("Equal", build("Abs", x), math.inf)
        if not negative and not positive:
            return Declined("it asks for neither sign")
        return build("Equal", x, math.inf if positive else -math.inf)
