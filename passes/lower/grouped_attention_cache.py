"""Where the tokens of ONNX Runtime's GroupQueryAttention stand in its cache, and what each of them sees there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, attribute, input_at, integers
from npuopt.passes.lower.grouped_attention import ADDED, LENGTHS, TOTAL

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value
    from npuopt.passes.lower.grouped_attention import Sizes


def first_place(node: Node, sizes: Sizes, build: Builder, *, full: bool) -> Value | int:
    """Return the place of the first query: a number, or one for each sequence (int64)."""
    total, lengths = integers(input_at(node, TOTAL)), integers(input_at(node, LENGTHS))
    is_prompt = total == [sizes.queries] or (sizes.batch > 1 and sizes.queries > 1)
    if is_prompt or not sizes.past:
        return 0
    if sizes.total > sizes.past and full:
        return sizes.past
    if lengths is not None and len(set(lengths)) == 1:
        return lengths[0] + 1 - sizes.queries
    build.type = DataType.INT64
    last = build("Cast", input_at(node, LENGTHS), to=DataType.INT64)
    last = build("Reshape", last, build.integers(sizes.batch))
    return last if sizes.queries == 1 else build("Add", last, 1 - sizes.queries)


def written(past: Value | None, new: Value, start: Value | int, sizes: Sizes, build: Builder) -> Value:
    """Return a cache with new keys or values in their places."""
    if sizes.total > sizes.past:
        room = build.array(np.zeros((sizes.batch, sizes.groups, sizes.total - sizes.past, sizes.width)))
        past = build("Concat", past, room, axis=2)
    at = build.integers(*[start] * sizes.batch) if isinstance(start, int) else start
    return build("TensorScatter", past, new, at, axis=2)


def ended(cache: Value, start: Value | int, sizes: Sizes, build: Builder) -> Value:
    """Return a cache with zeros behind the ends of its sequences."""
    places = np.arange(sizes.total)[:, None] - sizes.queries
    if isinstance(start, int):
        kept = build.edit.constant(places < start, near=build.node)
    else:
        first = build("Unsqueeze", start, build.integers(1, 2, 3))
        kept = build("Less", build.edit.constant(places, near=build.node), first)
    return build("Where", kept, cache, 0.0)


def places_of(node: Node, start: Value | int, sizes: Sizes, build: Builder) -> Value:
    """Return the places of the tokens: [batch, queries]."""
    steps = np.arange(sizes.queries, dtype=np.int64)[None].repeat(sizes.batch, axis=0)
    if isinstance(start, int):
        return build.edit.constant(steps + start, near=node)
    return build("Add", build("Unsqueeze", start, build.integers(1)), build.edit.constant(steps, near=node))


def mask_of(node: Node, start: Value | int, sizes: Sizes, build: Builder) -> Value | None:
    """Return what the node's scores are masked by, beside the attribute that joins past and new keys."""
    added, window = input_at(node, ADDED), attribute(node, "local_window_size", -1)
    if sizes.total > sizes.past == start and window < 0:
        return added
    places, rows = np.arange(sizes.total), np.arange(sizes.queries)[:, None]
    if isinstance(start, int):
        known = (places <= rows + start) & ((places > rows + start - window) | (window < 0))
        shown = build.edit.constant(known, near=node)
    else:
        build.type = DataType.INT64
        own = build("Add", build("Unsqueeze", start, build.integers(1, 2, 3)), build.array(rows))
        shown = build("LessOrEqual", build.array(places), own)
        if window >= 0:
            shown = build("And", shown, build("Greater", build.array(places), build("Add", own, -window)))
    if added is None:
        return shown
    build.type = added.dtype
    return build("Where", shown, added, float("-inf"))
