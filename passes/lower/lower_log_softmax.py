from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerLogSoftmax(FormulaLowering):
    """LogSoftmax becomes a shifted logarithm of a sum of exponentials.

    `LogSoftmax(x) -> s - Log(ReduceSum(Exp(s)))` with `s = x - ReduceMax(x)`; the logarithm of a Softmax would be
    -inf where the Softmax rounds to zero.

    Left alone: a node that the target takes.
    """

    name = "lower-log-softmax"
    op_types = ("LogSoftmax",)
    produces = frozenset({"Exp", "Log", "ReduceMax", "ReduceSum", "Sub"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return `s - Log(ReduceSum(Exp(s)))`."""
        axis = build.integers(attribute(node, "axis", -1))
        shifted = build("Sub", x, build("ReduceMax", x, axis, keepdims=1))
        total = build("ReduceSum", build("Exp", shifted), axis, keepdims=1)
        return build("Sub", shifted, build("Log", total))
