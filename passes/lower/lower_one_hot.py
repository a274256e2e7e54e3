from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, attribute, constant, input_at, rank, scalar
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

INTEGERS = (DataType.INT32, DataType.INT64)


@dataclass(frozen=True)
class LowerOneHot(FormulaLowering):
    """OneHot becomes a comparison with every position and a selection of its two values.

    `OneHot<axis>(i, depth, [off, on]) -> Where(Equal(Unsqueeze(i), [0, 1, 2, ...]), on, off)`; indices count from
    the end too, so the comparison is with `i` and with `i + depth`.

    Left alone: indices that are neither int32 nor int64; a depth or values that are not constant.
    """

    name = "lower-one-hot"
    op_types = ("OneHot",)
    produces = frozenset({"Add", "Equal", "Less", "Unsqueeze", "Where"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the selection."""
        size, values, indices_rank = scalar(input_at(node, 1)), constant(input_at(node, 2)), rank(x)
        if size is None or values is None or indices_rank is None:
            return Declined("its depth or values are not constant, or the rank of its indices is not known")
        if build.type not in INTEGERS:
            return Declined(f"its indices are of type {build.type}")
        axis = attribute(node, "axis", -1) % (indices_rank + 1)
        positions = np.arange(int(size)).reshape([-1] + [1] * (indices_rank - axis))
        wrapped = build("Where", build("Less", x, 0), build("Add", x, int(size)), x)
        hit = build("Equal", build("Unsqueeze", wrapped, build.integers(axis)), build.array(positions))
        off, on = (build.edit.constant(values[index].reshape(()), near=node) for index in (0, 1))
        return build("Where", hit, on, off)
