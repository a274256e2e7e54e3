from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
"""The ONNX standard's defaults."""


@dataclass(frozen=True)
class LowerElu(FormulaLowering):
    """Elu and Selu become Relu and an exponential of what is below zero.

    `Elu<alpha>(x) -> Relu(x) + alpha * (Exp(Min(x, 0)) - 1)`; Selu is gamma times that.

    Left alone: a node that the target takes.
    """

    name = "lower-elu"
    op_types = ("Elu", "Selu")
    produces = frozenset({"Add", "Exp", "Min", "Mul", "Relu", "Sub"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return `gamma * (Relu(x) + alpha * (Exp(Min(x, 0)) - 1))`."""
        is_selu = node.op_type == "Selu"
        alpha = attribute(node, "alpha", SELU_ALPHA if is_selu else 1.0)
        gamma = attribute(node, "gamma", SELU_GAMMA) if is_selu else 1.0
        below = build("Sub", build("Exp", build("Min", x, 0.0)), 1.0)
        if alpha != 1:
            below = build("Mul", below, alpha)
        whole = build("Add", build("Relu", x), below)
        return whole if gamma == 1 else build("Mul", whole, gamma)
