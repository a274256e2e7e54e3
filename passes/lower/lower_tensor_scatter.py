from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, attribute, constant, input_at, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.windows import sliced
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerTensorScatter(FormulaLowering):
    """TensorScatter becomes a selection of one position, or a join of what stays and what is written.

    `TensorScatter(past, update, i) -> Where(Equal([0, 1, 2, ...], i), update, past)` for an update of one position;
    with positions that are known and the same for all, `Concat(Slice(past), update, Slice(past))`.

    Left alone: longer updates at positions given at run time, at different ones, or around the end; a shape that is
    not static or has no elements.
    """

    name = "lower-tensor-scatter"
    op_types = ("TensorScatter",)
    produces = frozenset({"Concat", "Equal", "Identity", "Mod", "Reshape", "Slice", "Where"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the cache with the update in it."""
        update, at = input_at(node, 1), input_at(node, 2)
        shape, update_shape = static_shape(x), static_shape(update)
        if update is None or shape is None or update_shape is None or 0 in (*shape, *update_shape):
            return Declined("its shapes are not static, or have no elements")
        axis = attribute(node, "axis", -2) % len(shape)
        size, length = shape[axis], update_shape[axis]
        circular = attribute(node, "mode", "linear") == "circular"
        starts = np.zeros(1, np.int64) if at is None else constant(at)
        if starts is not None and len(set(starts.tolist())) == 1:
            start = int(starts[0]) % size if circular else int(starts[0])
            if start + length <= size:
                return _joined(x, update, axis, (start, start + length, size), build)
        if at is None or length != 1:
            return Declined(f"its {length} positions are given at run time, differ, or go around the end")
        positions = np.arange(size).reshape(-1, *[1] * (len(shape) - 1 - axis))
        build.type = DataType.INT64
        place = build("Reshape", at, build.integers(shape[0], *[1] * (len(shape) - 1)))
        if circular:
            place = build("Mod", place, size)
        return build("Where", build("Equal", place, build.array(positions)), update, x)


def _joined(past: Value, update: Value, axis: int, bounds: tuple[int, int, int], build: Builder) -> Value:
    start, stop, size = bounds
    parts = [sliced(past, axis, 0, start, build)] if start else []
    parts.append(update)
    if stop < size:
        parts.append(sliced(past, axis, stop, size, build))
    return build("Concat", *parts, axis=axis) if len(parts) > 1 else build("Identity", update)
