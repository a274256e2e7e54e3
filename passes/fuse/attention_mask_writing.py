"""How masks of an attention are written: as one mask, of a shape and of values that mean the same inside the op."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, constant, element_type, is_op, producer, rank, scalar
from npuopt.passes.fuse.attention_mask import all_exact, is_bias
from npuopt.passes.fuse.sizes import may_broadcast, size_of, size_vector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Builder, Value
    from npuopt.passes.fuse.attention_mask import Mask


def misfit(masks: Sequence[Mask], query: Value, key: Value) -> str:
    """Return why a mask cannot be brought to the shape of the scores, or an empty string."""
    most = rank(query) or 0
    places = [*((query, axis) for axis in range(most - 1)), (key, most - 2)]
    for mask in masks:
        value = mask.shown if mask.shown is not None else mask.value
        depth = rank(value)
        if value is None or depth is None or depth > most:
            return f"the rank of its mask is not known, or above {most}"
        for axis, place in enumerate(places[most - depth :]):
            size = size_of(value, axis)
            if size != 1 and may_broadcast(size, size_of(*place)):
                return f"its mask stretches axis {axis + most - depth} of the scores from {size_of(*place)} to {size}"
    return ""


def joined(masks: Sequence[Mask], build: Builder, *, guarded: bool) -> Value | None:
    """Return one mask that does what all of them do: of bool where minus infinity is meant, else of floats."""
    if not masks:
        return None
    if all_exact(masks, guarded=guarded):
        return reduce(lambda left, right: build("And", left, right), [_shown(mask, build) for mask in masks])
    lowest = float((build.type or DataType.FLOAT).min) / 2 ** len(masks)
    outer = masks[0]
    if len(masks) == 2 and outer.shown is not None and outer.value is None and np.isfinite(outer.fill):
        inner = _added(masks[1], 2 * lowest, build)
        return build("Where", outer.shown, *((inner, 2 * lowest) if outer.keeps else (2 * lowest, inner)))
    return reduce(lambda left, right: build("Add", left, right), [_added(mask, lowest, build) for mask in masks])


def written_out(mask: Value, query: Value, key: Value, build: Builder) -> Value:
    """Return the mask with all its queries and keys written out, as ONNX Runtime wants it."""
    depth = rank(mask) or 0
    sizes = [size_of(mask, axis) for axis in range(depth)]
    queries, keys = (query, 2), (key, 2)
    if size_of(*queries) == size_of(*keys) is not None and sizes and sizes[-1] != 1:
        queries = (mask, depth - 1)  # the same for every layer that the mask is for
    places = [queries, keys][-depth:] if depth else []
    stretched = [size == 1 and size_of(*place) != 1 for size, place in zip(sizes[-2:], places, strict=True)]
    if depth >= 2 and not any(stretched):
        return mask
    missing = [queries, keys][: max(2 - depth, 0)]
    last = [place if stretch else 1 for place, stretch in zip(places, stretched, strict=True)]
    return build("Expand", mask, size_vector([*missing, *last], build))


def _shown(mask: Mask, build: Builder) -> Value:
    assert mask.shown is not None  # noqa: S101 -- asked for by the caller
    return mask.shown if mask.keeps else build("Not", mask.shown)


def _added(mask: Mask, lowest: float, build: Builder) -> Value:
    """Return a mask to be added that is nowhere the lowest number, which ONNX Runtime would read as hidden."""
    if mask.shown is not None:
        fill = -np.inf if np.isneginf(mask.fill) else lowest if mask.value is None else max(mask.fill, lowest)
        shown, hidden = (0.0, fill) if mask.keeps else (fill, 0.0)
        return build("Where", mask.shown, shown, hidden)
    known = constant(mask.value)
    if known is not None:
        wide = known.astype(np.float64)
        return build.array(np.where(np.isneginf(wide), wide, np.maximum(wide, lowest)))
    if _is_moderate(mask.value) or is_bias(mask.value):
        assert mask.value is not None  # noqa: S101 -- a mask is added or replaces
        return mask.value
    is_lowest = build("Equal", mask.value, float((build.type or DataType.FLOAT).min))
    return build("Where", is_lowest, lowest, mask.value)


def _is_moderate(value: Value | None) -> bool:
    """Say whether no element can be near the lowest number: an integer or a truth, less a number, times a number."""
    bound = 1.0
    for _ in range(6):
        node = producer(value)
        if node is None:
            return False
        if is_op(node, "Cast"):
            kind = element_type(node.inputs[0])
            return kind is not None and not kind.is_floating_point() and bound * 2.0**64 < 1e30
        if is_op(node, "Unsqueeze", "Reshape", "Expand", "Slice", "Transpose"):
            value = node.inputs[0]
            continue
        numbers = [scalar(item) for item in node.inputs]
        known = [number for number in numbers if number is not None]
        if not is_op(node, "Mul", "Sub", "Add") or len(numbers) != 2 or len(known) != 1:
            return False
        bound *= max(abs(known[0]), 2.0)
        value = node.inputs[numbers.index(None)]
    return False
