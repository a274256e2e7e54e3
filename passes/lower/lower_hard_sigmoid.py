from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerHardSigmoid(FormulaLowering):
    """HardSigmoid becomes Mul, Add and Clip.

    `HardSigmoid<alpha, beta>(x) -> Clip(alpha * x + beta, 0, 1)`

    Left alone: a node that the target takes.
    """

    name = "lower-hard-sigmoid"
    op_types = ("HardSigmoid",)
    produces = frozenset({"Add", "Clip", "Mul"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return `Clip(alpha * x + beta, 0, 1)`."""
        scaled = build("Mul", x, attribute(node, "alpha", 0.2))
        return build("Clip", build("Add", scaled, attribute(node, "beta", 0.5)), 0.0, 1.0)
