from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerReciprocal(FormulaLowering):
    """Reciprocal becomes Div.

    `Reciprocal(x) -> 1 / x`

    Left alone: a node that the target takes.
    """

    name = "lower-reciprocal"
    op_types = ("Reciprocal",)
    produces = frozenset({"Div"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return `1 / x`."""
        return build("Div", 1.0, x)
