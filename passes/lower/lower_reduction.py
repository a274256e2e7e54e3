from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

FLOATS_ONLY = ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp")


@dataclass(frozen=True)
class LowerReduction(FormulaLowering):
    """ReduceL1, ReduceL2, ReduceSumSquare, ReduceLogSum and ReduceLogSumExp become ReduceSum with arithmetic.

    `ReduceL1(x) -> ReduceSum(Abs(x))`, `ReduceSumSquare(x) -> ReduceSum(x * x)`,
    `ReduceL2(x) -> Sqrt(ReduceSum(x * x))`, `ReduceLogSum(x) -> Log(ReduceSum(x))`,
    `ReduceLogSumExp(x) -> Log(ReduceSum(Exp(x - ReduceMax(x)))) + ReduceMax(x)`, which does not overflow.

    Left alone: `noop_with_empty_axes`; integers where a root or a logarithm is taken.
    """

    name = "lower-reduction"
    op_types = ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
    produces = frozenset({"Abs", "Add", "Exp", "Log", "Mul", "ReduceMax", "ReduceSum", "Sqrt", "Sub"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the reduction's definition."""
        if attribute(node, "noop_with_empty_axes", 0):
            return Declined("noop_with_empty_axes is set")
        if node.op_type in FLOATS_ONLY and (build.type is None or not build.type.is_floating_point()):
            return Declined(f"its result is no {build.type}")
        keep = attribute(node, "keepdims", 1)

        def total(value: Value) -> Value:
            return build("ReduceSum", value, input_at(node, 1), keepdims=keep)

        match node.op_type:
            case "ReduceL1":
                return total(build("Abs", x))
            case "ReduceSumSquare":
                return total(build("Mul", x, x))
            case "ReduceL2":
                return build("Sqrt", total(build("Mul", x, x)))
            case "ReduceLogSum":
                return build("Log", total(x))
            case _:
                peak = build("ReduceMax", x, input_at(node, 1), keepdims=1)
                logarithm = build("Log", total(build("Exp", build("Sub", x, peak))))
                level = peak if keep else build("ReduceMax", x, input_at(node, 1), keepdims=0)
                return build("Add", logarithm, level)
