from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import DataType, input_at
from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerBooleanEqual(FormulaLowering):
    """Equal and Xor of booleans become And, Or and Not.

    `Equal(a, b) -> Or(And(a, b), Not(Or(a, b)))`, `Xor(a, b) -> And(Or(a, b), Not(And(a, b)))`

    Left alone: Equal of numbers, which is another op under the same name.
    """

    name = "lower-boolean-equal"
    op_types = ("Equal", "Xor")
    produces = frozenset({"And", "Not", "Or"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | None:
        """Return both or neither, or its opposite."""
        other = input_at(node, 1)
        if build.type != DataType.BOOL or other is None:
            return None
        both, any_ = build("And", x, other), build("Or", x, other)
        if node.op_type == "Equal":
            return build("Or", both, build("Not", any_))
        return build("And", any_, build("Not", both))
