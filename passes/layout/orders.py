"""Orders of axes: what Transposes do, and how they follow each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import attribute_list, input_at, rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Node


Order = tuple[int, ...]


def order_of(node: Node | None) -> Order | None:
    """Return a Transpose's permutation, or None where there is none to be known."""
    if node is None:
        return None
    depth = rank(input_at(node, 0)) or 0
    return tuple(attribute_list(node, "perm", range(depth)[::-1])) or None


def inverse(order: Sequence[int]) -> Order:
    """Return the permutation that takes `order` back."""
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def composed(first: Sequence[int], second: Sequence[int]) -> Order:
    """Return the one permutation that does what `first` and then `second` do."""
    return tuple(first[axis] for axis in second)


def is_identity(order: Sequence[int]) -> bool:
    """Say whether a permutation leaves every axis where it is."""
    return list(order) == sorted(order)


def moves_data(order: Sequence[int], shape: Sequence[int] | None) -> bool:
    """Say whether a Transpose in this order is more than a Reshape: it moves axes of more than one place.

    Args:
        order: the permutation.
        shape: of what is transposed; None where it is not known in full.
    """
    long = order if shape is None else [axis for axis in order if shape[axis] != 1]
    return not is_identity(long)
