from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute_list
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.wide_normalization import centered_and_variance

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

EPSILON = 1e-9
"""Added to the deviation, as the ONNX standard's own definition does."""


@dataclass(frozen=True)
class LowerMeanVarianceNormalization(FormulaLowering):
    """MeanVarianceNormalization becomes means, a root and a quotient.

    `MeanVarianceNormalization<axes>(x) -> c / (Sqrt(ReduceMean(c * c)) + 1e-9)` with `c = x - ReduceMean(x)`

    Left alone: a node that the target takes.
    """

    name = "lower-mean-variance-normalization"
    op_types = ("MeanVarianceNormalization",)
    produces = frozenset({"Add", "Div", "Mul", "ReduceMean", "Sqrt", "Sub"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return the standard's definition, in a form that does not cancel."""
        axes = build.integers(*attribute_list(node, "axes", (0, 2, 3)))
        centered, variance = centered_and_variance(x, axes, build)
        return build("Div", centered, build("Add", build("Sqrt", variance), EPSILON))
