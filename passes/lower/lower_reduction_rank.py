from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from npuopt.graph import attribute, constant, input_at, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

MOST = 3
"""The rank of what is left, with one in front where there are fewer axes."""


@dataclass(frozen=True)
class LowerReductionRank(FormulaLowering):
    """A reduction of a tensor of high rank reduces one of rank 3, between Reshapes.

    `ReduceMean(x, axes) -> Reshape(ReduceMean(Reshape(x), axes'))`: neighbouring axes that are all reduced, or all
    kept, become one, and ones stand in front.

    Left alone: rank 3 and below; axes that are not constant, or alternate too often; shapes that are not static or
    have no elements.
    """

    name = "lower-reduction-rank"
    op_types = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")
    produces = frozenset({*op_types, "Reshape"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the reduction over fewer axes."""
        shape, result = static_shape(x), static_shape(node.outputs[0])
        given = input_at(node, 1)
        axes = None if given is None else constant(given)
        if shape is None or result is None or 0 in shape or (given is not None and axes is None):
            return Declined("its shapes or axes are not static, or it has no elements")
        if len(shape) <= MOST or ((axes is None or not axes.size) and attribute(node, "noop_with_empty_axes", 0)):
            return None
        reduced = set(range(len(shape))) if axes is None or not axes.size else {int(a) % len(shape) for a in axes.flat}
        groups = _groups(shape, reduced)
        if len(groups) > MOST:
            return Declined(f"kept and reduced axes of {list(shape)} alternate too often")
        ahead = [(1, False)] * (MOST - len(groups))
        groups = [*ahead, *groups]
        joined = build("Reshape", x, build.integers(*(size for size, _ in groups)))
        along = build.integers(*(axis for axis, (_, is_reduced) in enumerate(groups) if is_reduced))
        return build("Reshape", build(node.op_type, joined, along, keepdims=1), build.integers(*result))


def _groups(shape: tuple[int, ...], reduced: set[int]) -> list[tuple[int, bool]]:
    """Return the sizes of runs of neighbouring axes that are all reduced or all kept; axes of one belong to any."""
    real = [(axis in reduced, size) for axis, size in enumerate(shape) if size != 1]
    runs = [(math.prod(size for _, size in run), flag) for flag, run in groupby(real, key=lambda item: item[0])]
    return runs if any(flag for _, flag in runs) else [*runs, (1, True)]
