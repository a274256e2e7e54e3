"""What the lowerings share that join neighbouring axes, so that less rank is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

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
