from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerVariadicExtremes(FormulaLowering):
    """Max and Min of any number of tensors become a chain of those of two.

    `Max(a, b, c) -> Max(Max(a, b), c)`, `Max(a) -> Identity(a)`

    Left alone: two tensors.
    """

    name = "lower-variadic-extremes"
    op_types = ("Max", "Min")
    produces = frozenset({"Identity", "Max", "Min"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | None:
        """Return the chain."""
        if len(node.inputs) == 2:
            return None
        value = x if len(node.inputs) > 1 else build("Identity", x)
        for other in node.inputs[1:]:
            value = build(node.op_type, value, other)
        return value
