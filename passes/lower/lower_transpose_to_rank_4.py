from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute_list, static_shape
from npuopt.passes.lower.axes import SMALL
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerTransposeToRank4(FormulaLowering):
    """A Transpose of low rank becomes one of rank 4 between Reshapes.

    `Transpose<perm>(x) -> Reshape(Transpose<perm'>(Reshape(x)))`, with axes of length 1 in front.

    Left alone: rank 4 and above; a shape that is not static or has no elements.
    """

    name = "lower-transpose-to-rank-4"
    op_types = ("Transpose",)
    produces = frozenset({"Reshape", "Transpose"})
    repeat = True

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the Transpose of rank 4, in the old shape again."""
        if x.shape is None or len(x.shape) >= SMALL:
            return None
        shape = static_shape(x)
        if shape is None or 0 in shape:
            return Declined("its shape is not static or has no elements")
        order = attribute_list(node, "perm", range(len(shape) - 1, -1, -1))
        missing = SMALL - len(shape)
        raised = build("Reshape", x, build.integers(*[1] * missing, *shape))
        moved = build("Transpose", raised, perm=[*range(missing), *(axis + missing for axis in order)])
        return build("Reshape", moved, build.integers(*(shape[axis] for axis in order)))
