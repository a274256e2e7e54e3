from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

CUBIC = 0.044715
"""The factor of the cube in the tanh form, as the ONNX standard gives it."""


@dataclass(frozen=True)
class LowerGelu(FormulaLowering):
    """Gelu becomes Erf or Tanh and arithmetic, by its `approximate` attribute.

    `Gelu(x) -> 0.5 * x * (1 + Erf(x / sqrt(2)))`
    `Gelu<approximate = "tanh">(x) -> 0.5 * x * (1 + Tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x)))`

    Left alone: a node that the target takes.
    """

    name = "lower-gelu"
    op_types = ("Gelu",)
    produces = frozenset({"Add", "Erf", "Mul", "Tanh"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return the form that the node's attribute asks for."""
        if attribute(node, "approximate", "none") == "tanh":
            cube = build("Mul", build("Mul", x, x), x)
            inner = build("Mul", build("Add", x, build("Mul", cube, CUBIC)), math.sqrt(2 / math.pi))
            gate = build("Tanh", inner)
        else:
            gate = build("Erf", build("Mul", x, math.sqrt(0.5)))
        return build("Mul", build("Mul", x, 0.5), build("Add", gate, 1.0))
