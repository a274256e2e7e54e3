from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import input_at
from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerClip(FormulaLowering):
    """Clip becomes Max and Min.

    `Clip(x, low, high) -> Min(Max(x, low), high)`

    Left alone: a node that the target takes. A bound that is not given stays out: infinity passes there, where ONNX
    has the largest number of the type, which would ruin the range of a quantized constant.
    """

    name = "lower-clip"
    op_types = ("Clip",)
    produces = frozenset({"Identity", "Max", "Min"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return what lies between the bounds that there are."""
        low, high = input_at(node, 1), input_at(node, 2)
        value = x if low is None else build("Max", x, low)
        value = value if high is None else build("Min", value, high)
        return build("Identity", x) if value is x else value
