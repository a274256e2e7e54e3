from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerHardSwish(FormulaLowering):
    """HardSwish becomes HardSigmoid and Mul.

    `HardSwish(x) -> x * HardSigmoid<alpha = 1/6, beta = 0.5>(x)`

    Left alone: a node that the target takes.
    """

    name = "lower-hard-swish"
    op_types = ("HardSwish",)
    produces = frozenset({"HardSigmoid", "Mul"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return `x * HardSigmoid(x)`."""
        return build("Mul", x, build("HardSigmoid", x, alpha=1 / 6, beta=0.5))
