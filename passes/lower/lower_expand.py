from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerExpand(FormulaLowering):
    """Expand becomes Tile, after a Reshape where it raises the rank.

    `Expand(x, shape) -> Tile(x, repeats)`

    Left alone: a shape that is not static, or has no elements.
    """

    name = "lower-expand"
    op_types = ("Expand",)
    produces = frozenset({"Identity", "Reshape", "Tile"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the Tile."""
        before, after = static_shape(x), static_shape(node.outputs[0])
        if before is None or after is None or 0 in after:
            return Declined("its shapes are not static or have no elements")
        aligned = [1] * (len(after) - len(before)) + list(before)
        repeats = [full // size for full, size in zip(after, aligned, strict=True)]
        value = x if len(after) == len(before) else build("Reshape", x, build.integers(*aligned))
        if any(count != 1 for count in repeats):
            return build("Tile", value, build.integers(*repeats))
        return value if value is not x else build("Identity", x)
