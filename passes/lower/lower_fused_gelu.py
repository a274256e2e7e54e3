from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at
from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

QUICK = 1.702
"""The alpha of a QuickGelu that gives none."""


@dataclass(frozen=True)
class LowerFusedGelu(FormulaLowering):
    """ONNX Runtime's Gelu, BiasGelu, FastGelu and QuickGelu become the standard Gelu or Swish.

    `BiasGelu(x, b) -> Gelu(x + b)`, `FastGelu(x, b) -> Gelu<approximate = "tanh">(x + b)`,
    `QuickGelu<alpha>(x) -> Swish<alpha>(x)`

    Left alone: inputs of unknown type.
    """

    name = "lower-fused-gelu"
    op_types = tuple(f"com.microsoft::{op}" for op in ("BiasGelu", "FastGelu", "Gelu", "QuickGelu"))
    produces = frozenset({"Add", "Gelu", "Swish"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value:
        """Return the standard op of the shifted input."""
        bias = input_at(node, 1)
        shifted = x if bias is None else build("Add", x, bias)
        if node.op_type == "QuickGelu":
            return build("Swish", shifted, alpha=attribute(node, "alpha", QUICK))
        return build("Gelu", shifted, approximate="tanh" if node.op_type == "FastGelu" else None)
