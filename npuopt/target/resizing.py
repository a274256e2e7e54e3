"""What descriptors ask of Resize that bounds cannot say: named conditions of `npuopt.target.predicates`."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from npuopt.graph import attribute, constant, input_at, static_shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.graph import Node

SMALLEST_RATE = 1 << 14
"""Denominator up to which a scale of Resize, stored in float32, counts as a fraction such as 1/3."""


def grows_by_two_four_or_eight(node: Node) -> str:
    """Resize makes rows and columns both 2, 4 or 8 times as many (only 2 in half_pixel), or leaves them."""
    before, after = static_shape(input_at(node, 0)), static_shape(node.outputs[0])
    if before is None or after is None or len(before) != 4 or before[:2] != after[:2]:
        return f"{list(before or ())} becomes {list(after or ())}; rows and columns may grow"
    if before == after:
        return ""
    linear = attribute(node, "mode", "nearest") == "linear"
    half = attribute(node, "coordinate_transformation_mode", "half_pixel") == "half_pixel"
    factors = (2,) if linear and half else (2, 4, 8)
    if any(after[2:] == (before[2] * factor, before[3] * factor) for factor in factors):
        return ""
    taken = ", ".join(map(str, factors))
    return f"{list(before[2:])} becomes {list(after[2:])}; growth of both by {taken} is taken"


def no_sample_lies_halfway(node: Node) -> str:
    """No element that Resize picks lies halfway between two elements of input 0: how ties are rounded is no matter."""
    transform = attribute(node, "coordinate_transformation_mode", "half_pixel")
    for axis, given, made, rate in _resized(node):
        if _has_ties(transform, given, made, rate):
            return f"an element on axis {axis} lies halfway between two of input 0 ({given} become {made})"
    return ""


def _has_ties(transform: str, given: int, made: int, rate: Fraction) -> bool:
    """Say whether some i below `made` is read from a place that is half a whole number."""
    if transform == "align_corners":
        rate = Fraction(given - 1, made - 1) if made > 1 else Fraction(0)
    if rate == 0 or rate.denominator >= 2 * made:
        return False
    if transform in ("align_corners", "asymmetric"):
        # From i * rate: a half where i is an odd multiple of half the denominator.
        return rate.denominator % 2 == 0
    # From (2i + 1) * rate / 2 - 1/2: a half where (2i + 1) * rate is even.
    return rate.numerator % 2 == 0


def _resized(node: Node) -> Iterator[tuple[int, int, int, Fraction]]:
    """Yield axis, old size, new size, and elements of the input for one of the output, for every axis of a Resize."""
    before, after = static_shape(input_at(node, 0)), static_shape(node.outputs[0])
    scales = constant(input_at(node, 2))
    axes = node.attributes.get("axes")
    chosen = list(axes.as_ints()) if axes is not None else range(len(before or ()))
    for place, axis in enumerate(chosen):
        if before is None or after is None or not -len(before) <= axis < min(len(before), len(after)):
            return
        given, made = before[axis], after[axis]
        rate = Fraction(given, made) if made else Fraction(0)
        scale = float(scales.reshape(-1)[place]) if scales is not None and place < scales.size else 0.0
        if 1 / SMALLEST_RATE < scale < SMALLEST_RATE:
            rate = 1 / Fraction(scale).limit_denominator(SMALLEST_RATE)
        yield axis, given, made, rate
