"""What the lowerings share that join neighbouring axes or swap blocks of them, so that less rank is needed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Builder, Value

SMALL = 4
"""The rank that every target takes."""


def joined_axes(result: Sequence[int], operands: Sequence[Sequence[int]], enough: int = 1) -> list[list[int]]:
    """Group neighbouring axes that may become one because every operand is repeated along all of them or along none.

    Args:
        result: the shape that the operands are broadcast to.
        operands: shapes of the same rank.
        enough: no more axes are joined when there are no more groups than this.

    Returns:
        The axes in order, one list for each axis that is left.
    """
    groups = [[axis] for axis in range(len(result))]
    at = 0
    while at + 1 < len(groups) and len(groups) > enough:
        together = groups[at] + groups[at + 1]
        if all(_is_even(result, shape, together) for shape in operands):
            groups[at : at + 2] = [together]
        else:
            at += 1
    return groups


def _is_even(result: Sequence[int], shape: Sequence[int], axes: Sequence[int]) -> bool:
    longer = [axis for axis in axes if result[axis] > 1]
    return all(shape[axis] == result[axis] for axis in longer) or all(shape[axis] == 1 for axis in longer)


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


def by_swaps(value: Value, sizes: list[int], order: list[int], build: Builder) -> Value:
    """Bring one axis after the other to its place, each by a swap of two neighbouring blocks of a tensor of rank 4.

    `value` may have any shape of so many elements, and comes back in that of the last swap.
    """
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
