"""How sines and cosines of rotary positions are cut to one number for each pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, attribute_list, constant, dims, input_at, integers, is_op, producer, rank
from npuopt.passes.fuse.sizes import size_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from npuopt.graph import Builder, Node, Value

    Cut = Callable[[Builder], Value | None]

ELEMENTWISE = ("Cos", "Sin", "Neg", "Cast", "Identity", "Mul", "Div", "Add", "Sub")
DEPTH = 12
"""Nodes in a row that are followed."""


def one_per_pair(value: Value | None, *, interleaved: bool, depth: int = DEPTH) -> Cut | None:
    """Return what emits `value` with one element of the last axis for each pair, or None where pairs may differ.

    Args:
        value: whose last axis holds every number twice.
        interleaved: the two are neighbours; else they are half an axis apart.
        depth: how many nodes to follow.
    """
    if value is None or depth == 0:
        return None
    known = constant(value)
    if known is not None:
        return _cut_constant(known, value, interleaved=interleaved)
    node = producer(value)
    if node is None or value is not node.outputs[0]:
        return None
    if (single := _doubled(node, interleaved=interleaved)) is not None:
        return lambda _: single
    if is_op(node, *ELEMENTWISE):
        cuts = [_cut_or_kept(item, interleaved=interleaved, depth=depth - 1) for item in node.inputs]
        return _again(node, cuts)
    if _keeps_last_axis(node):
        first = one_per_pair(input_at(node, 0), interleaved=interleaved, depth=depth - 1)
        return _again(node, [first, *(_kept(item) for item in node.inputs[1:])])
    return None


def _cut_constant(known: np.ndarray, value: Value, *, interleaved: bool) -> Cut | None:
    if known.ndim == 0 or known.shape[-1] % 2:
        return None
    half = known.shape[-1] // 2
    one, other = (known[..., ::2], known[..., 1::2]) if interleaved else (known[..., :half], known[..., half:])
    if not np.array_equal(one, other):
        return None
    return lambda build: build.edit.constant(np.ascontiguousarray(one), near=build.node, name=f"{value.name}/pairs")


def _doubled(node: Node, *, interleaved: bool) -> Value | None:
    """Return what `node` holds twice along its last axis."""
    joined = producer(input_at(node, 0), "Concat") if interleaved and is_op(node, "Reshape") else node
    if joined is None or not is_op(joined, "Concat") or len(joined.inputs) != 2:
        return None
    first, second = joined.inputs
    depth = rank(joined.outputs[0])
    if first is None or first is not second or depth is None or attribute(joined, "axis", 0) % depth != depth - 1:
        return None
    if not interleaved:
        return first
    lifted = producer(first, "Unsqueeze")
    source = input_at(lifted, 0) if lifted is not None else None
    flat = dims(node.outputs[0])
    if lifted is None or source is None or integers(input_at(lifted, 1)) not in ([-1], [depth - 1]) or flat is None:
        return None
    single = size_of(source, depth - 2)
    return source if len(flat) == depth - 1 and isinstance(single, int) and flat[-1] == 2 * single else None


def _cut_or_kept(value: Value | None, *, interleaved: bool, depth: int) -> Cut | None:
    """Cut an operand, unless it is one number for the whole axis."""
    if value is not None and rank(value) is not None and (rank(value) == 0 or size_of(value, -1) == 1):
        return _kept(value)
    return one_per_pair(value, interleaved=interleaved, depth=depth)


def _kept(value: Value | None) -> Cut:
    return lambda _: value


def _keeps_last_axis(node: Node) -> bool:
    """Say whether the last axis of the node's output is that of its first input, whole and in order."""
    before, after = rank(input_at(node, 0)), rank(node.outputs[0])
    if before is None or after is None or before < 1:
        return False
    axes = integers(input_at(node, 1)) if is_op(node, "Squeeze", "Unsqueeze") else None
    if is_op(node, "Unsqueeze"):
        return axes is not None and all(axis % after != after - 1 for axis in axes)
    if is_op(node, "Squeeze"):
        return axes is not None and all(axis % before != before - 1 for axis in axes)
    if is_op(node, "Gather"):
        return attribute(node, "axis", 0) % before != before - 1
    if is_op(node, "Slice"):
        sliced = integers(input_at(node, 3))
        return sliced is not None and all(axis % before != before - 1 for axis in sliced)
    return is_op(node, "Transpose") and attribute_list(node, "perm", [0])[-1] == before - 1


def _again(node: Node, cuts: list[Cut | None]) -> Cut | None:
    known = [cut for cut in cuts if cut is not None]
    if len(known) != len(cuts):
        return None
    return lambda build: build(node.op_type, *(cut(build) for cut in known), **node.attributes)
