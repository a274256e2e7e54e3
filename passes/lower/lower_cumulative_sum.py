from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, dims, input_at, scalar
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


END = 2**31 - 1


@dataclass(frozen=True)
class LowerCumulativeSum(FormulaLowering):
    """CumSum becomes a product with a constant triangle of ones.

    `CumSum<exclusive, reverse>(x, axis) -> MatMul(x, triangle)`, between two Transposes where the axis is not the
    last. Integers are added exactly, to themselves from 1, 2, 4, ... places before: `x = x + Pad(Slice(x))`

    Left alone: an axis that is not constant, or whose length is not known or beyond `longest`.

    Attributes:
        longest: of floats, as the product costs the square of the axis' length.
    """

    name = "lower-cumulative-sum"
    op_types = ("CumSum",)
    produces = frozenset({"Add", "MatMul", "Pad", "Slice", "Transpose"})

    longest: int = 4096

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the product with the triangle."""
        shape, axis = dims(x), scalar(input_at(node, 1))
        if shape is None or axis is None:
            return Declined("its axis is not constant, or the rank of its input is not known")
        depth, along = len(shape), int(axis) % len(shape)
        length = shape[along]
        if not isinstance(length, int) or length > self.longest:
            return Declined(f"the length of axis {along} is {length}, not a number up to {self.longest}")
        if build.type is None or not build.type.is_floating_point():
            return _doubled(node, x, along, length, build)
        skip = 1 if attribute(node, "exclusive", 0) else 0
        ones = np.ones((length, length))
        triangle = np.tril(ones, -skip) if attribute(node, "reverse", 0) else np.triu(ones, skip)
        swap = list(range(depth))
        swap[along], swap[-1] = swap[-1], swap[along]
        moved = x if along == depth - 1 else build("Transpose", x, perm=swap)
        total = build("MatMul", moved, build.array(triangle))
        return total if along == depth - 1 else build("Transpose", total, perm=swap)


def _doubled(node: Node, x: Value, along: int, length: int, build: Builder) -> Value:
    """Return the sums by adding what is 1, 2, 4, ... places before (behind, in reverse)."""
    reverse = attribute(node, "reverse", 0)
    total = _shifted(x, along, 1, reverse=reverse, build=build) if attribute(node, "exclusive", 0) else x
    distance = 1
    while distance < length:
        total = build("Add", total, _shifted(total, along, distance, reverse=reverse, build=build))
        distance *= 2
    return total


def _shifted(value: Value, along: int, distance: int, *, reverse: int, build: Builder) -> Value:
    """Move a value along an axis by some places, zeros behind it."""
    kept = (distance, END) if reverse else (0, -distance)
    part = build("Slice", value, build.integers(kept[0]), build.integers(kept[1]), build.integers(along))
    pads = (0, distance) if reverse else (distance, 0)
    return build("Pad", part, build.integers(*pads), None, build.integers(along))
