from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerVariadicSum(FormulaLowering):
    """Sum and Mean of any number of tensors become a chain of Add.

    `Sum(a, b, c) -> Add(Add(a, b), c)`, `Mean(a, b, c) -> Sum(a, b, c) * (1 / 3)`

    Left alone: a node that the target takes.
    """

    name = "lower-variadic-sum"
    op_types = ("Sum", "Mean")
    produces = frozenset({"Add", "Identity", "Mul"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return the chain, divided by its length for Mean."""
        total = x
        for value in node.inputs[1:]:
            total = build("Add", total, value)
        if node.op_type == "Mean" and len(node.inputs) > 1:
            return build("Mul", total, 1 / len(node.inputs))
        return total if total is not x else build("Identity", x)
