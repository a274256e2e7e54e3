from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, attribute, constant, input_at, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerGatherNd(FormulaLowering):
    """GatherND becomes one Gather by flat positions.

    `GatherND<batch_dims>(x, i) -> Gather(Reshape(x), p)` with p the sum of the indices times the strides of their
    axes, computed at once where the indices are constant; negative indices count from the end.

    Left alone: shapes that are not static or have no elements.
    """

    name = "lower-gather-nd"
    op_types = ("GatherND",)
    produces = frozenset({"Add", "Gather", "Less", "Mul", "ReduceSum", "Reshape", "Where"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the gathered slices."""
        shape, places = static_shape(x), input_at(node, 1)
        index_shape = static_shape(places)
        if shape is None or index_shape is None or places is None or 0 in (*shape, *index_shape):
            return Declined("its shapes are not static, or have no elements")
        batch, depth = attribute(node, "batch_dims", 0), index_shape[-1]
        sizes = np.array(shape[batch : batch + depth])
        strides = np.array([math.prod(sizes[axis + 1 :]) for axis in range(depth)])
        rest = shape[batch + depth :]
        table = build("Reshape", x, build.integers(math.prod(shape[: batch + depth]), *rest))
        batches = np.arange(math.prod(shape[:batch])).reshape(*shape[:batch], *[1] * (len(index_shape) - 1 - batch))
        offsets = batches * int(math.prod(sizes))
        known = constant(places)
        if known is not None:
            flat = (np.where(known < 0, known + sizes, known) * strides).sum(-1) + offsets
            return build("Gather", table, build.edit.constant(flat.astype(np.int64), near=node), axis=0)
        return build("Gather", table, _positions(places, sizes, strides, offsets, build), axis=0)


def _positions(places: Value, sizes: np.ndarray, strides: np.ndarray, offsets: np.ndarray, build: Builder) -> Value:
    build.type = DataType.INT64
    wrapped = build("Where", build("Less", places, 0), build("Add", places, build.array(sizes)), places)
    flat = build("ReduceSum", build("Mul", wrapped, build.array(strides)), build.integers(-1), keepdims=0)
    return build("Add", flat, build.array(offsets)) if offsets.any() else flat
