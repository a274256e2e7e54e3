from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from npuopt.graph import attribute, constant, dims, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.windows import sliced
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerGather(FormulaLowering):
    """Gather with constant indices becomes Slices.

    `Gather<axis>(x, [2, 3, 4, 9]) -> Concat(Slice(x, 2, 5), Slice(x, 9, 10))`: one Slice for each run of indices that
    follow each other; a single index is taken out by a Squeeze.

    Left alone: indices given at run time or of more than one axis; more runs than `most`; a length that is not known.

    Attributes:
        most: runs of indices.
    """

    name = "lower-gather"
    op_types = ("Gather",)
    produces = frozenset({"Concat", "Slice", "Squeeze"})

    most: int = 32

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the joined slices."""
        indices, shape = constant(input_at(node, 1)), dims(x)
        if indices is None or indices.ndim > 1 or not indices.size or shape is None:
            return Declined("its indices are not constant, are none, or have more than one axis")
        axis = attribute(node, "axis", 0) % len(shape)
        length = shape[axis]
        if not isinstance(length, int):
            return Declined(f"the length of axis {axis} is not known")
        order = [int(index) % length for index in indices.reshape(-1)]
        breaks = [0, *(place for place in range(1, len(order)) if order[place] != order[place - 1] + 1), len(order)]
        if len(breaks) - 1 > self.most:
            return Declined(f"its indices have {len(breaks) - 1} runs, more than {self.most}")
        parts = [sliced(x, axis, order[start], order[stop - 1] + 1, build) for start, stop in pairwise(breaks)]
        result = build("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]
        return result if indices.ndim else build("Squeeze", result, build.integers(axis))
