from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, attribute
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerLpNormalization(FormulaLowering):
    """LpNormalization becomes a division by the norm.

    `LpNormalization<p = 2>(x) -> x / Max(Sqrt(ReduceSum(x * x)), tiny)`, `LpNormalization<p = 1>(x) ->
    x / Max(ReduceSum(Abs(x)), tiny)`; tiny is the least normal number of the type, so that zeros stay zeros.

    Left alone: types of which that number is not known.
    """

    name = "lower-lp-normalization"
    op_types = ("LpNormalization",)
    produces = frozenset({"Abs", "Div", "Max", "Mul", "ReduceSum", "Sqrt"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the quotient."""
        if build.type is None or build.type not in (DataType.FLOAT, DataType.FLOAT16, DataType.DOUBLE):
            return Declined(f"the least number of {build.type} is not known")
        axis, squares = build.integers(attribute(node, "axis", -1)), attribute(node, "p", 2) == 2
        parts = build("Mul", x, x) if squares else build("Abs", x)
        total = build("ReduceSum", parts, axis, keepdims=1)
        norm = build("Sqrt", total) if squares else total
        tiny = float(np.finfo(build.type.numpy()).tiny)
        return build("Div", x, build("Max", norm, tiny))
