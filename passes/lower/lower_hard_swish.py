from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerHardSwish(FormulaLowering):
    """HardSwish becomes HardSigmoid and Mul, or on request a sum, a Clip and products.

    `HardSwish(x) -> x * HardSigmoid<alpha = 1/6, beta = 0.5>(x)`
    `HardSwish(x) -> x * (Clip(x + 3, 0, 6) * 1/6)`

    Left alone: a node that the target takes.

    Attributes:
        clip: write the second form. What lower-hard-sigmoid makes of the first has a Clip between 0 and 1; one between
            0 and 6 is an activation that some compilers end a sum with.
    """

    name = "lower-hard-swish"
    op_types = ("HardSwish",)
    produces = frozenset({"Add", "Clip", "HardSigmoid", "Mul"})

    clip: bool = False

    def forms(self) -> tuple[LowerHardSwish, ...]:
        """Return both forms: of as many nodes, that with the Clip."""
        return (replace(self, clip=True), replace(self, clip=False))

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return the form that was chosen."""
        return clipped(x, build) if self.clip else build("Mul", x, build("HardSigmoid", x, alpha=1 / 6, beta=0.5))


def clipped(x: Value | None, build: Builder) -> Value:
    """Return `x * (Clip(x + 3, 0, 6) * 1/6)`."""
    return build("Mul", x, build("Mul", build("Clip", build("Add", x, 3.0), 0.0, 6.0), 1 / 6))
