from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import rank, static_shape
from npuopt.passes.lower.axes import joined_axes
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerMatmulRank(FormulaLowering):
    """A batched MatMul becomes one over fewer batch axes, between Reshapes.

    `MatMul(x, w) -> Reshape(MatMul(Reshape(x), Reshape(w)))`: neighbouring batch axes over which neither operand, or
    the same operand, is repeated become one; what still has more than two is repeated by an Expand.

    Left alone: no two batch axes to join; shapes that are not static or have no elements.
    """

    name = "lower-matmul-rank"
    op_types = ("MatMul",)
    produces = frozenset({"Expand", "MatMul", "Reshape"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the product over fewer axes."""
        if any(rank(value) is not None and (rank(value) or 0) < 2 for value in node.inputs):
            return None
        shapes = [static_shape(value) for value in node.inputs]
        result = static_shape(node.outputs[0])
        left, right = shapes
        if left is None or right is None or result is None or 0 in (*left, *right):
            return Declined("its shapes are not static, or have no elements")
        batch = result[:-2]
        if len(batch) < 2:
            return None
        groups = joined_axes(batch, [_batch(left, len(batch)), _batch(right, len(batch))])
        expand = len(groups) > BATCHES
        if expand:
            groups = [list(range(len(batch)))]
        elif len(groups) == len(batch):
            return None
        operands = [
            _reshaped(value, _batch(shape, len(batch)), shape[-2:], groups, batch if expand else None, build)
            for value, shape in ((x, left), (node.inputs[1], right))
        ]
        return build("Reshape", build("MatMul", *operands), build.integers(*result))


BATCHES = 2
"""Batch axes of a product of rank 4."""


def _batch(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    return (*[1] * (count + 2 - len(shape)), *shape[:-2])


def _reshaped(
    value: Value | None,
    batch: tuple[int, ...],
    matrix: tuple[int, ...],
    groups: list[list[int]],
    expanded: tuple[int, ...] | None,
    build: Builder,
) -> Value:
    if expanded is not None and batch != expanded and math.prod(batch) > 1:
        value = build("Expand", value, build.integers(*expanded, *matrix))
        batch = expanded
    sizes = [math.prod(batch[axis] for axis in group) for group in groups]
    return build("Reshape", value, build.integers(*sizes, *matrix))
