from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.windows import windows
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerLpPool(FormulaLowering):
    """LpPool becomes the root of a mean of powers.

    `LpPool<p = 2>(x) -> Sqrt(AveragePool<count_include_pad = 1>(x * x) * k)` with k the taps of a window;
    `LpPool<p = 1>(x) -> AveragePool(Abs(x)) * k`; Pow for other powers

    Left alone: `ceil_mode`; shapes that are not static or have no elements.
    """

    name = "lower-lp-pool"
    op_types = ("LpPool",)
    produces = frozenset({"Abs", "AveragePool", "Mul", "Pow", "Sqrt"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the root."""
        found = windows(node)
        if isinstance(found, Declined):
            return found
        if attribute(node, "ceil_mode", 0):
            return Declined("ceil_mode is set")
        power = attribute(node, "p", 2)
        parts = build("Mul", x, x) if power == 2 else build("Abs", x)
        if power > 2:
            parts = build("Pow", parts, power)
        padded = any((*found.begins, *found.ends))
        means = build("AveragePool", parts, count_include_pad=1 if padded else None, **found.attributes())
        sums = build("Mul", means, math.prod(found.kernel))
        if power == 1:
            return sums
        return build("Sqrt", sums) if power == 2 else build("Pow", sums, 1 / power)
