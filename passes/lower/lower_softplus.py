from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerSoftplus(FormulaLowering):
    """Softplus becomes Relu, Exp and Log, in the form that does not overflow.

    `Softplus(x) -> Relu(x) + Log(1 + Exp(-Abs(x)))`

    Left alone: a node that the target takes.
    """

    name = "lower-softplus"
    op_types = ("Softplus",)
    produces = frozenset({"Abs", "Add", "Exp", "Log", "Neg", "Relu"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return `Relu(x) + Log(1 + Exp(-Abs(x)))`."""
        decay = build("Exp", build("Neg", build("Abs", x)))
        return build("Add", build("Relu", x), build("Log", build("Add", decay, 1.0)))
