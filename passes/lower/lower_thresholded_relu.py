from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerThresholdedRelu(FormulaLowering):
    """ThresholdedRelu becomes a comparison and a selection.

    `ThresholdedRelu<alpha>(x) -> Where(x > alpha, x, 0)`

    Left alone: a node that the target takes.
    """

    name = "lower-thresholded-relu"
    op_types = ("ThresholdedRelu",)
    produces = frozenset({"Greater", "Where"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return `Where(x > alpha, x, 0)`."""
        return build("Where", build("Greater", x, attribute(node, "alpha", 1.0)), x, 0.0)
