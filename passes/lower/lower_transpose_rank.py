from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute_list, static_shape
from npuopt.passes.lower.axes import SMALL
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerTransposeRank(FormulaLowering):
    """A Transpose of high rank becomes Transposes of lower rank between Reshapes.

    `Transpose<perm>(x) -> Reshape(Transpose<perm'>(Reshape(x)))`, with axes that stay neighbours taken as one and
    axes of length 1 left out; what still has a rank above 4 becomes a row of swaps of neighbouring blocks.

    Left alone: rank 4 and below; a shape that is not static or has no elements.
    """

    name = "lower-transpose-rank"
    op_types = ("Transpose",)
    produces = frozenset({"Reshape", "Transpose"})
    repeat = True

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the Transpose of what remains when neighbours are merged, else the row of swaps."""
        if x.shape is not None and len(x.shape) <= SMALL:
            return None
        shape = static_shape(x)
        if shape is None or 0 in shape:
            return Declined("its shape is not static or has no elements")
        order = attribute_list(node, "perm", range(len(shape) - 1, -1, -1))
        sizes, merged = merge_neighbours(shape, order)
        value = x
        if len(sizes) < len(shape):
            value = build("Reshape", x, build.integers(*sizes))
            if merged != sorted(merged):
                value = build("Transpose", value, perm=merged)
        else:
            value = _swaps(value, sizes, merged, build)
        return build("Reshape", value, build.integers(*(shape[axis] for axis in order)))


def merge_neighbours(shape: tuple[int, ...], order: list[int]) -> tuple[list[int], list[int]]:
    """Return the shape and the order of a Transpose that moves the same elements over the fewest axes."""
    kept = [axis for axis in order if shape[axis] != 1]
    blocks: list[list[int]] = []
    real = [axis for axis in range(len(shape)) if shape[axis] != 1]
    place = {axis: position for position, axis in enumerate(real)}
    for axis in kept:
        if blocks and place[axis] == place[blocks[-1][-1]] + 1:
            blocks[-1].append(axis)
        else:
            blocks.append([axis])
    by_source = sorted(blocks)
    sizes = [math.prod(shape[axis] for axis in block) for block in by_source]
    return sizes or [1], [by_source.index(block) for block in blocks] or [0]


def _swaps(value: Value, sizes: list[int], order: list[int], build: Builder) -> Value:
    """Bring one axis after the other to its place, each by a swap of two neighbouring blocks."""
    current = list(range(len(sizes)))
    for position, axis in enumerate(order):
        at = current.index(axis)
        if at == position:
            continue
        around = (current[:position], current[position:at], [axis], current[at + 1 :])
        blocks = [math.prod(sizes[item] for item in block) for block in around]
        value = build("Transpose", build("Reshape", value, build.integers(*blocks)), perm=[0, 2, 1, 3])
        current.insert(position, current.pop(at))
    return value
