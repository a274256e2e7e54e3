from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerSelu(FormulaLowering):
    """Selu becomes Elu and a product.

    `Selu<alpha, gamma>(x) -> Elu<alpha>(x) * gamma`

    Left alone: a node that the target takes.
    """

    name = "lower-selu"
    op_types = ("Selu",)
    produces = frozenset({"Elu", "Mul"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return the scaled Elu; the defaults are those of the standard."""
        alpha, gamma = (
            attribute(node, "alpha", 1.67326319217681884765625),
            attribute(node, "gamma", 1.05070102214813232421875),
        )
        return build("Mul", build("Elu", x, alpha=alpha), gamma)
