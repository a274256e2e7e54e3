from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from npuopt.graph import attribute, static_shape
from npuopt.passes.lower.axes import by_swaps, merge_neighbours
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerSpaceToDepth(FormulaLowering):
    """SpaceToDepth and DepthToSpace become a Transpose between two Reshapes.

    `SpaceToDepth<blocksize = b>(x) -> Reshape(Transpose(Reshape(x, [N, C, H / b, b, W / b, b])))`; DepthToSpace the
    other way, in the order that its mode says

    Left alone: a shape that is not static or has no elements.

    Attributes:
        in_steps: several Transposes of rank 4 instead of one of rank 6.
    """

    name = "lower-space-to-depth"
    op_types = ("DepthToSpace", "SpaceToDepth")
    produces = frozenset({"Reshape", "Transpose"})

    in_steps: bool = False

    def forms(self) -> tuple[LowerSpaceToDepth, ...]:
        """Return the lowering to one Transpose, and that to several."""
        return (self, replace(self, in_steps=True))

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the moved elements."""
        shape, size = static_shape(x), attribute(node, "blocksize", 1)
        result = static_shape(node.outputs[0])
        if shape is None or result is None or 0 in (*shape, *result):
            return Declined("its shape is not static, or has no elements")
        batch, channels, height, width = shape
        if node.op_type == "SpaceToDepth":
            parts, order = (batch, channels, height // size, size, width // size, size), [0, 3, 5, 1, 2, 4]
        elif attribute(node, "mode", "DCR") == "DCR":
            parts, order = (batch, size, size, channels // size**2, height, width), [0, 3, 4, 1, 5, 2]
        else:
            parts, order = (batch, channels // size**2, size, size, height, width), [0, 1, 4, 2, 5, 3]
        if self.in_steps:
            moved = by_swaps(x, *merge_neighbours(parts, order), build)
        else:
            moved = build("Transpose", build("Reshape", x, build.integers(*parts)), perm=order)
        return build("Reshape", moved, build.integers(*result))
