from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import rank
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerGlobalPool(FormulaLowering):
    """GlobalAveragePool and GlobalMaxPool become reductions over the spatial axes.

    `GlobalAveragePool(x) -> ReduceMean<keepdims = 1>(x, [2, 3, ...])`; the maximum becomes ReduceMax.

    Left alone: an input of unknown rank.
    """

    name = "lower-global-pool"
    op_types = ("GlobalAveragePool", "GlobalMaxPool")
    produces = frozenset({"ReduceMax", "ReduceMean"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the reduction."""
        depth = rank(x)
        if depth is None:
            return Declined("the rank of its input is not known")
        reduction = "ReduceMean" if node.op_type == "GlobalAveragePool" else "ReduceMax"
        return build(reduction, x, build.integers(*range(2, depth)), keepdims=1)
