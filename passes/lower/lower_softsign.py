from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerSoftsign(FormulaLowering):
    """Softsign becomes Abs, Add and Div.

    `Softsign(x) -> x / (1 + Abs(x))`

    Left alone: a node that the target takes.
    """

    name = "lower-softsign"
    op_types = ("Softsign",)
    produces = frozenset({"Abs", "Add", "Div"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return `x / (1 + Abs(x))`."""
        return build("Div", x, build("Add", build("Abs", x), 1.0))
