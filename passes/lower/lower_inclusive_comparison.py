from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import input_at
from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerInclusiveComparison(FormulaLowering):
    """GreaterOrEqual and LessOrEqual become a comparison without equality, and one of equality.

    `GreaterOrEqual(x, y) -> Or(Greater(x, y), Equal(x, y))`, which is false for NaN; of integers
    `GreaterOrEqual(x, y) -> Not(Less(x, y))`

    Left alone: a node that the target takes.
    """

    name = "lower-inclusive-comparison"
    op_types = ("GreaterOrEqual", "LessOrEqual")
    produces = frozenset({"Equal", "Greater", "Less", "Not", "Or"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return the comparison."""
        other, greater = input_at(node, 1), node.op_type == "GreaterOrEqual"
        if build.type is not None and build.type.is_integer():
            return build("Not", build("Less" if greater else "Greater", x, other))
        strictly = build("Greater" if greater else "Less", x, other)
        return build("Or", strictly, build("Equal", x, other))
