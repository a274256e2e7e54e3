"""Writes Gelu as products and a Sigmoid, which have 16 bits where Gelu has 8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi, sqrt
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import attribute
from npuopt.passes.quantize.replacement import replace_named
from npuopt.pipeline import Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Builder, Model, Node, Value
    from npuopt.target import Target

SLOPES = {"none": (1.60031416, 0.06940179), "tanh": (2 * sqrt(2 / pi), 2 * sqrt(2 / pi) * 0.044715)}
"""Of the Sigmoid's operand at zero and with the square: least largest error, and the tanh form's own by definition."""
LARGEST_SQUARE = 16.0
"""Beyond it the operand goes on as a straight line: a Sigmoid is within 2e-5 of its end there."""


@dataclass(frozen=True)
class LowerGeluToSigmoid(Pass):
    """Write Gelu as `x * Sigmoid(x * (a + b * Min(x * x, 16)))`.

    Errors are below 2.8e-4, and 1.8e-5 of `approximate = "tanh"`. Each of these ops may be held in 16 bits by chips
    whose Gelu is a table of 8.

    Left alone: nodes that are not named, and where the target refuses one of the new nodes.

    Attributes:
        names: of what the nodes make.
    """

    name: ClassVar[str] = "lower-gelu-to-sigmoid"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    names: Sequence[str] = ()

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Write each Gelu that is named as arithmetic."""
        became, report = "became products and a Sigmoid", Report(self.name)
        return replace_named("Gelu", self.names, _formula, became, report=report, model=model, target=target)


def _formula(node: Node, build: Builder) -> Value:
    """Emit the product with the Sigmoid."""
    x = node.inputs[0]
    first, third = SLOPES[attribute(node, "approximate", "none")]
    square = build("Clip", build("Mul", x, x), None, LARGEST_SQUARE)
    factor = build("Add", build("Mul", square, third), first)
    return build("Mul", x, build("Sigmoid", build("Mul", x, factor)))
