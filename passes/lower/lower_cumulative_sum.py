from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, dims, input_at, scalar
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerCumulativeSum(FormulaLowering):
    """CumSum becomes a product with a constant triangle of ones.

    `CumSum<exclusive, reverse>(x, axis) -> MatMul(x, triangle)`, between two Transposes where the axis is not the
    last

    Left alone: integers; an axis that is not constant, or whose length is not known or beyond `longest`.

    Attributes:
        longest: the product costs the square of the axis' length.
    """

    name = "lower-cumulative-sum"
    op_types = ("CumSum",)
    produces = frozenset({"MatMul", "Transpose"})

    longest: int = 4096

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the product with the triangle."""
        shape, axis = dims(x), scalar(input_at(node, 1))
        if build.type is None or not build.type.is_floating_point():
            return Declined(f"it computes in {build.type}, in which few targets multiply matrices")
        if shape is None or axis is None:
            return Declined("its axis is not constant, or the rank of its input is not known")
        depth, along = len(shape), int(axis) % len(shape)
        length = shape[along]
        if not isinstance(length, int) or length > self.longest:
            return Declined(f"the length of axis {along} is {length}, not a number up to {self.longest}")
        skip = 1 if attribute(node, "exclusive", 0) else 0
        ones = np.ones((length, length))
        triangle = np.tril(ones, -skip) if attribute(node, "reverse", 0) else np.triu(ones, skip)
        swap = list(range(depth))
        swap[along], swap[-1] = swap[-1], swap[along]
        moved = x if along == depth - 1 else build("Transpose", x, perm=swap)
        total = build("MatMul", moved, build.array(triangle))
        return total if along == depth - 1 else build("Transpose", total, perm=swap)
