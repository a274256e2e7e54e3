from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerHyperbolicFunctions(FormulaLowering):
    """Sinh, Cosh, Asinh, Acosh and Atanh become exponentials and logarithms.

    `Sinh(x) -> (Exp(x) - Exp(-x)) * 0.5`, `Cosh(x) -> (Exp(x) + Exp(-x)) * 0.5`,
    `Asinh(x) -> Sign(x) * Log(Abs(x) + Sqrt(x * x + 1))`, `Acosh(x) -> Log(x + Sqrt(x * x - 1))`,
    `Atanh(x) -> Log((1 + x) / (1 - x)) * 0.5`

    Left alone: a node that the target takes.
    """

    name = "lower-hyperbolic-functions"
    op_types = ("Sinh", "Cosh", "Asinh", "Acosh", "Atanh")
    produces = frozenset({"Abs", "Add", "Div", "Exp", "Log", "Mul", "Neg", "Sign", "Sqrt", "Sub"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return the function's definition."""
        match node.op_type:
            case "Sinh" | "Cosh":
                rise, fall = build("Exp", x), build("Exp", build("Neg", x))
                return build("Mul", build("Sub" if node.op_type == "Sinh" else "Add", rise, fall), 0.5)
            case "Asinh":
                # The logarithm of the magnitude: for large negative x the plain form cancels to zero.
                root = build("Sqrt", build("Add", build("Mul", x, x), 1.0))
                return build("Mul", build("Sign", x), build("Log", build("Add", build("Abs", x), root)))
            case "Acosh":
                return build("Log", build("Add", x, build("Sqrt", build("Sub", build("Mul", x, x), 1.0))))
            case _:
                return build("Mul", build("Log", build("Div", build("Add", x, 1.0), build("Sub", 1.0, x))), 0.5)
