"""Arithmetic on single elements of shapes: numbers, names of dims, or nothing known."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

Element = int | str | None
"""A number (truth as 0 or 1), the name of a dim (never negative), or unknown."""


def _add(left: Element, right: Element) -> Element:
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    return right if left == 0 else left if right == 0 else None


def _subtract(left: Element, right: Element) -> Element:
    if isinstance(left, int) and isinstance(right, int):
        return left - right
    return left if right == 0 else 0 if left == right and left is not None else None


def _multiply(left: Element, right: Element) -> Element:
    if isinstance(left, int) and isinstance(right, int):
        return left * right
    if 0 in (left, right):
        return 0
    return right if left == 1 else left if right == 1 else None


def _divide(left: Element, right: Element) -> Element:
    """Divide as C does, toward zero."""
    if isinstance(left, int) and isinstance(right, int) and right != 0:
        quotient = abs(left) // abs(right)
        return quotient if (left < 0) == (right < 0) else -quotient
    return left if right == 1 else None


def _maximum(left: Element, right: Element) -> Element:
    if isinstance(left, int) and isinstance(right, int):
        return max(left, right)
    if left == right or (isinstance(left, str) and isinstance(right, int) and right <= 0):
        return left
    return right if isinstance(right, str) and isinstance(left, int) and left <= 0 else None


def _minimum(left: Element, right: Element) -> Element:
    if isinstance(left, int) and isinstance(right, int):
        return min(left, right)
    if left == right or (isinstance(right, str) and isinstance(left, int) and left <= 0):
        return left
    return right if isinstance(left, str) and isinstance(right, int) and right <= 0 else None


def _equal(left: Element, right: Element) -> Element:
    if isinstance(left, int) and isinstance(right, int):
        return int(left == right)
    if left is None or right is None:
        return None
    if left == right:
        return 1
    return 0 if any(isinstance(item, int) and item < 0 for item in (left, right)) else None


def _less(left: Element, right: Element) -> Element:
    if isinstance(left, int) and isinstance(right, int):
        return int(left < right)
    if isinstance(left, int) and isinstance(right, str) and left < 0:
        return 1
    if isinstance(left, str) and (left == right or (isinstance(right, int) and right <= 0)):
        return 0
    return None


def _not(item: Element) -> Element:
    return int(not item) if isinstance(item, int) else None


def _and(left: Element, right: Element) -> Element:
    return 0 if 0 in (left, right) else 1 if left == right == 1 else None


def _or(left: Element, right: Element) -> Element:
    return _not(_and(_not(left), _not(right)))


def _greater(left: Element, right: Element) -> Element:
    return _less(right, left)


def _less_or_equal(left: Element, right: Element) -> Element:
    return _not(_less(right, left))


def _greater_or_equal(left: Element, right: Element) -> Element:
    return _not(_less(left, right))


def _negate(item: Element) -> Element:
    return -item if isinstance(item, int) else None


def _absolute(item: Element) -> Element:
    return abs(item) if isinstance(item, int) else item


def _fold(rule: Callable[[Element, Element], Element]) -> Callable[..., Element]:
    def apply(first: Element, *others: Element) -> Element:
        for other in others:
            first = rule(first, other)
        return first

    return apply


def _choose(condition: Element, chosen: Element, other: Element) -> Element:
    if condition is None:
        return chosen if chosen == other else None
    return chosen if condition else other


ELEMENTWISE: dict[str, Callable[..., Element]] = {
    "Add": _add,
    "Sub": _subtract,
    "Mul": _multiply,
    "Div": _divide,
    "Max": _fold(_maximum),
    "Min": _fold(_minimum),
    "Equal": _equal,
    "Less": _less,
    "Greater": _greater,
    "LessOrEqual": _less_or_equal,
    "GreaterOrEqual": _greater_or_equal,
    "Not": _not,
    "And": _and,
    "Or": _or,
    "Neg": _negate,
    "Abs": _absolute,
    "Where": _choose,
}
"""Op type -> what it makes of one element of each input."""
