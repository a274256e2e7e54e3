from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerCelu(FormulaLowering):
    """Celu becomes Elu, with its input and output scaled.

    `Celu<alpha>(x) -> alpha * Elu(x / alpha)`

    Left alone: a node that the target takes.
    """

    name = "lower-celu"
    op_types = ("Celu",)
    produces = frozenset({"Elu", "Mul"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return `alpha * Elu(x / alpha)`."""
        alpha = attribute(node, "alpha", 1.0)
        if alpha == 1:
            return build("Elu", x)
        return build("Mul", build("Elu", build("Mul", x, 1 / alpha)), alpha)
