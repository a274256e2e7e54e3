from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute_list, static_shape
from npuopt.passes.lower.axes import SMALL, by_swaps, merge_neighbours
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerTransposeRank(FormulaLowering):
    """A Transpose of high rank becomes Transposes of lower rank between Reshapes.

    `Transpose<perm>(x) -> Reshape(Transpose<perm'>(Reshape(x)))`, with axes that stay neighbours taken as one and
    axes of length 1 left out; what still has a rank above 4 becomes a row of swaps of neighbouring blocks.

    Left alone: rank 4 and below; a shape that is not static or has no elements.
    """

    name = "lower-transpose-rank"
    op_types = ("Transpose",)
    produces = frozenset({"Reshape", "Transpose"})
    repeat = True

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the Transpose of what remains when neighbours are merged, else the row of swaps."""
        if x.shape is not None and len(x.shape) <= SMALL:
            return None
        shape = static_shape(x)
        if shape is None or 0 in shape:
            return Declined("its shape is not static or has no elements")
        order = attribute_list(node, "perm", range(len(shape) - 1, -1, -1))
        sizes, merged = merge_neighbours(shape, order)
        value = x
        if len(sizes) < len(shape):
            value = build("Reshape", x, build.integers(*sizes))
            if merged != sorted(merged):
                value = build("Transpose", value, perm=merged)
        else:
            value = by_swaps(value, sizes, merged, build)
        return build("Reshape", value, build.integers(*(shape[axis] for axis in order)))
