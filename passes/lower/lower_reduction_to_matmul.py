from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, input_at, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerReductionToMatMul(FormulaLowering):
    """A sum or mean over the last axes is a product with a column of equal numbers.

    `ReduceSum(x, [-1]) -> MatMul(x, ones)`, `ReduceMean(x, [-1]) -> MatMul(x, 1 / K)`, between Reshapes where more than
    the last axis is reduced or the axis does not stay. Accelerators sum in a product what they will not sum alone, such
    as all of a tensor.

    Left alone: integers; axes that are not constant, or are not the last ones (axes of size one aside); shapes that
    are not static or have no elements.
    """

    name = "lower-reduction-to-matmul"
    op_types = ("ReduceMean", "ReduceSum")
    produces = frozenset({"MatMul", "Reshape"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the product."""
        shape, result = static_shape(x), static_shape(node.outputs[0])
        given = input_at(node, 1)
        axes = None if given is None else constant(given)
        if build.type is None or not build.type.is_floating_point():
            return Declined(f"sums of {build.type} may not fit a product")
        if shape is None or result is None or 0 in shape or (given is not None and axes is None):
            return Declined("its shapes or axes are not static, or it has no elements")
        if (axes is None or not axes.size) and attribute(node, "noop_with_empty_axes", 0):
            return None
        reduced = set(range(len(shape))) if axes is None or not axes.size else {int(a) % len(shape) for a in axes.flat}
        real = [axis for axis, size in enumerate(shape) if size != 1]
        first = next((place for place, axis in enumerate(real) if axis in reduced), len(real))
        if first == len(real) or not reduced.issuperset(real[first:]):
            return Declined("the axes that it reduces are not the last ones")
        count = math.prod(shape[axis] for axis in real[first:])
        weight = 1.0 if node.op_type == "ReduceSum" else 1.0 / count
        column = build.array(np.full((count, 1), weight, build.type.numpy()))
        flat = (math.prod(shape) // count, count)
        rows = x if shape == flat else build("Reshape", x, build.integers(*flat))
        product = build("MatMul", rows, column)
        return product if result == (flat[0], 1) else build("Reshape", product, build.integers(*result))
