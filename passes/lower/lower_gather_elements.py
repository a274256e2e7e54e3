from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, attribute, constant, element_type, input_at, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerGatherElements(FormulaLowering):
    """GatherElements becomes one Gather by flat positions.

    `GatherElements<axis>(x, i) -> Gather(Reshape(x, [-1]), p)` with `p = i * stride + (what the other axes add)`,
    computed at once where the indices are constant; negative indices count from the end.

    Left alone: shapes that are not static or have no elements; indices that are neither int32 nor int64.
    """

    name = "lower-gather-elements"
    op_types = ("GatherElements",)
    produces = frozenset({"Add", "Gather", "Less", "Mul", "Reshape", "Where"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the gathered elements."""
        shape, places = static_shape(x), input_at(node, 1)
        index_shape, kind = static_shape(places), element_type(places)
        if shape is None or index_shape is None or places is None or 0 in (*shape, *index_shape):
            return Declined("its shapes are not static, or have no elements")
        if kind not in (DataType.INT32, DataType.INT64):
            return Declined(f"its indices are of type {kind}")
        axis = attribute(node, "axis", 0) % len(shape)
        strides = [math.prod(shape[place + 1 :]) for place in range(len(shape))]
        grid = np.indices(index_shape, dtype=np.int64)
        others = sum(grid[place] * strides[place] for place in range(len(shape)) if place != axis)
        flat = build("Reshape", x, build.integers(-1))
        known = constant(places)
        if known is not None:
            at = np.where(known < 0, known + shape[axis], known) * strides[axis] + others
            return build("Gather", flat, build.edit.constant(at.astype(np.int64), near=node), axis=0)
        build.type = kind
        position = build("Where", build("Less", places, 0), build("Add", places, shape[axis]), places)
        if strides[axis] > 1:
            position = build("Mul", position, strides[axis])
        if len(shape) > 1:
            position = build("Add", position, build.array(np.broadcast_to(others, index_shape)))
        return build("Gather", flat, position, axis=0)
