"""Masks of an attention: what they hide, and whether they mean the same inside the op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, constant, producer, scalar
from npuopt.passes.fuse.bounded import bound_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Value

WIDE = (DataType.FLOAT, DataType.DOUBLE)
SWALLOWS = 1e30
"""A size from which on a negative number swallows any score that it is added to."""
HIDDEN = -1e4
"""A fill below which a score weighs nothing beside any that is shown."""


@dataclass(frozen=True)
class Mask:
    """One mask, as the graph writes it.

    Attributes:
        value: what is added to the scores; None where scores are replaced instead.
        shown: where scores are replaced: the condition.
        keeps: whether they stay where the condition is true, or where it is false.
        fill: what they are replaced by.
    """

    value: Value | None = None
    shown: Value | None = None
    keeps: bool = True
    fill: float = 0.0


def unfolded(mask: Mask) -> Mask:
    """Return a mask that is added as the replacement it is, where it is `Where(shown, 0, fill)`."""
    node = producer(mask.value, "Where")
    if node is None:
        return mask
    condition, left, right = node.inputs
    for kept, fill, keeps in ((left, right, True), (right, left, False)):
        number = scalar(fill)
        if scalar(kept) == 0 and number is not None and number <= HIDDEN:
            return Mask(value=mask.value, shown=condition, keeps=keeps, fill=number)
    return mask


def why_not(masks: Sequence[Mask], kind: DataType, *, guarded: bool, trusted: bool) -> str:
    """Say which mask would mean something else inside the op, or return an empty string.

    A query that sees no key: its softmax is NaN if all its scores are minus infinity, zero behind a guard, and even
    if they are a very low number. The op gives zero for minus infinity (ONNX Runtime for the lowest number too).

    Args:
        masks: as `unfolded` returns them.
        kind: the element type of the scores.
        guarded: NaN is replaced by zero behind the softmax.
        trusted: every query is taken to see a key.
    """
    if len(masks) > 1 and not trusted and not (all_exact(masks, guarded=guarded) or _is_ordered(masks)):
        return "its masks may together hide every key of a query, each with another number"
    for mask in masks:
        if mask.shown is not None and mask.fill > HIDDEN:
            return f"it fills hidden scores with {mask.fill:g}, which may weigh something"
        if trusted or _shows_a_key(mask):
            continue
        if mask.shown is not None and np.isneginf(mask.fill) and not guarded:
            return "a query that its mask hides from every key gives NaN, and zero in Attention"
        if kind not in WIDE and not (mask.shown is not None and guarded and np.isneginf(mask.fill)):
            return f"in {kind} its mask may hide every key of a query only nearly"
    return ""


def is_causal(masks: Sequence[Mask], queries: object, keys: object, past: int = 0) -> bool:
    """Say whether the one mask is a constant that shows each query the keys up to its own place, behind `past` keys."""
    if len(masks) != 1 or not isinstance(queries, int) or not isinstance(keys, int):
        return False
    known = _known(masks[0])
    if known is None or known.size != queries * keys:
        return False
    return bool((known.reshape(queries, keys) == visible(queries, keys, past)).all())


def visible(queries: int, keys: int, past: int = 0) -> np.ndarray:
    """Return a mask that shows each query the keys up to its own place, behind `past` keys."""
    return np.tril(np.ones((queries, keys), dtype=np.bool_), past)


def all_exact(masks: Sequence[Mask], *, guarded: bool) -> bool:
    """Say whether hiding keys by bool is the same for all masks together.

    It is for one that shows each query a key, and where nothing is what a query without keys gets from each.
    """
    if any(mask.shown is None for mask in masks):
        return False
    return (len(masks) == 1 and _shows_a_key(masks[0])) or (guarded and all(np.isneginf(mask.fill) for mask in masks))


def _is_ordered(masks: Sequence[Mask]) -> bool:
    """Say whether, of two masks, what each hides weighs as little as before when they are one.

    Scores that the outer one replaces by the lowest numbers weigh what they weigh, whatever the inner one did. What
    the outer one adds on top of an inner one that shows each query a key never hides all keys twice.
    """
    if len(masks) != 2:
        return False
    outer, inner = masks
    if outer.value is None:
        return SWALLOWS <= -outer.fill < np.inf and (inner.shown is None or inner.fill <= -SWALLOWS)
    return _shows_a_key(inner) and (inner.shown is None or inner.fill <= -SWALLOWS)


def _shows_a_key(mask: Mask) -> bool:
    if mask.shown is None and is_bias(mask.value):
        return True
    known = _known(mask)
    return known is not None and known.ndim > 0 and bool(known.any(axis=-1).all())


def is_bias(value: Value | None) -> bool:
    """Say whether what is added to the scores is known to hide none of them: a bias by distance, say."""
    bound = bound_of(value)
    return bound is not None and bound < -HIDDEN


def _known(mask: Mask) -> np.ndarray | None:
    """Return where a constant mask shows keys."""
    if mask.shown is not None:
        known = constant(mask.shown)
        return known if known is None or mask.keeps else ~known
    known = constant(mask.value)
    if known is None or not bool(((known == 0) | (known <= HIDDEN)).all()):
        return None
    return known == 0
