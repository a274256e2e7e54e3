from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerMish(FormulaLowering):
    """Mish becomes Softplus, Tanh and Mul.

    `Mish(x) -> x * Tanh(Softplus(x))`

    Left alone: a node that the target takes.
    """

    name = "lower-mish"
    op_types = ("Mish",)
    produces = frozenset({"Mul", "Softplus", "Tanh"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return `x * Tanh(Softplus(x))`."""
        return build("Mul", x, build("Tanh", build("Softplus", x)))
