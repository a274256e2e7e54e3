from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, dims
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerFlatten(FormulaLowering):
    """Flatten becomes Reshape.

    `Flatten<axis>(x) -> Reshape(x, [product of the dims before axis, product of those from axis on])`; one of the
    two may hold unknown dims and is then written as -1.

    Left alone: both halves hold unknown dims; a dim of zero, which a Reshape would copy.
    """

    name = "lower-flatten"
    op_types = ("Flatten",)
    produces = frozenset({"Reshape"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the Reshape."""
        shape = dims(x)
        if shape is None:
            return Declined("the rank of its input is not known")
        if 0 in shape:
            return Declined("its input has no elements")
        axis = attribute(node, "axis", 1)
        axis = axis + len(shape) if axis < 0 else axis
        halves = [_product(shape[:axis]), _product(shape[axis:])]
        if halves == [-1, -1]:
            return Declined(f"dims on both sides of axis {axis} are not known")
        return build("Reshape", x, build.integers(*halves))


def _product(sizes: tuple[int | str | None, ...]) -> int:
    known = [size for size in sizes if isinstance(size, int)]
    return math.prod(known) if len(known) == len(sizes) else -1
