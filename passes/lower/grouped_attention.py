"""What the inputs and outputs of ONNX Runtime's GroupQueryAttention say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, integers, static_shape

if TYPE_CHECKING:
    from npuopt.graph import Node

PAST_KEY, PAST_VALUE, LENGTHS, TOTAL, COSINES, SINES, POSITIONS, ADDED, SINK = 3, 4, 5, 6, 7, 8, 9, 10, 11
"""Positions of inputs; from SINK on, what the standard op has no word for."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of one node.

    Attributes:
        batch: sequences.
        queries: of each sequence; there are as many new keys.
        heads: of queries.
        groups: heads of keys and values.
        width: of a head.
        past: keys that the cache has room for ahead of the node, 0 where it has none.
        total: keys that it has room for behind the node.
    """

    batch: int
    queries: int
    heads: int
    groups: int
    width: int
    past: int
    total: int


def read_sizes(node: Node) -> Sizes | str:
    """Return the sizes, or why they are not known."""
    heads, groups = attribute(node, "num_heads", 0), attribute(node, "kv_num_heads", 0)
    shape, cache = static_shape(input_at(node, 0)), static_shape(input_at(node, PAST_KEY))
    if shape is None or len(shape) != 3 or 0 in shape or not heads or not groups:
        return "the shape of its queries is not static, or has no elements"
    batch, queries, width = shape
    if input_at(node, PAST_KEY) is not None and (cache is None or len(cache) != 4):
        return "the shape of its past is not static"
    width //= heads if input_at(node, 1) is not None else heads + 2 * groups
    past = cache[2] if cache else 0
    total = _total(node, past, queries)
    if total is None:
        return "the length of its present is not known"
    return Sizes(batch, queries, heads, groups, width, past, total)


def _total(node: Node, past: int, queries: int) -> int | None:
    """Return how many keys the present has room for."""
    if not past:
        return queries
    known = integers(input_at(node, TOTAL))
    if known is not None and len(known) == 1:
        return max(past, known[0])
    shapes = [static_shape(output) for output in node.outputs[1:3]]
    return next((shape[2] for shape in shapes if shape is not None and len(shape) == 4), None)


def why_not(node: Node, sizes: Sizes) -> str:
    """Return why the standard op would not do the same, or an empty string."""
    if sizes.total not in (sizes.past, sizes.past + sizes.queries):
        return f"its present has {sizes.total} places, for {sizes.past} past keys and {sizes.queries} new ones"
    if sizes.past and sum(1 for output in node.outputs[1:3] if output.name) < 2:
        return "its past does not go on"
    if any(value is not None for value in (input_at(node, POSITIONS), *node.inputs[SINK:])):
        return "it has positions, sinks, scales or normalizations of its own"
    if attribute(node, "smooth_softmax", 0) > 0 or not attribute(node, "causal", 1):
        return "its softmax is smooth, or it is not causal"
    if attribute(node, "sliding_window_cache", 0):
        return "its cache drops what leaves its window"
    if any(output.uses() or output.is_graph_output() for output in node.outputs[3:]):
        return "its scores are read"
    added = input_at(node, ADDED)
    if added is not None and (static_shape(added) or (0,))[-1] != sizes.total:
        return f"what is added to its scores is not known to be of {sizes.total} keys"
    if attribute(node, "do_rotary", 0) and static_shape(input_at(node, COSINES)) is None:
        return "the shape of its cosines is not static"
    return ""
