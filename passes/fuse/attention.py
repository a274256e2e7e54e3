"""How attention is read off the graph: from a softmax back to queries, keys and masks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from npuopt.graph import (
    attribute,
    attribute_list,
    has_one_use,
    input_at,
    integers,
    is_constant,
    is_op,
    producer,
    rank,
    scalar,
)
from npuopt.passes.fuse.scales import raises_rank, read_scale
from npuopt.passes.fuse.sizes import size_of
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Node, Value

IDENTITY, SWAP = (0, 1, 2, 3), (0, 1, 3, 2)
CLOSE = 1e-3
"""How far the two factors of a softcap may be from each other's inverse: constants are rounded."""
STEPS = 8
"""Nodes that are followed from a sum to the product that is one of its sides."""


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


@dataclass
class Scores:
    """What makes the scores of an attention.

    Attributes:
        query, key: the product's operands without their factors; `key` still has to be brought to `order`.
        order: the axes of `key` that are batch, heads, length, size.
        scale, softcap: factors of the scores; 0 for no softcap.
        masks: outermost first.
        interior: the nodes from the product to the softmax, which nothing else may read.
    """

    query: Value
    key: Value
    order: tuple[int, ...] = SWAP
    scale: float = 1.0
    softcap: float = 0.0
    masks: list[Mask] = field(default_factory=list[Mask])
    interior: list[Node] = field(default_factory=list["Node"])


def read_scores(value: Value, reader: Node) -> Scores | Declined | None:
    """Follow `value`, which `reader` takes the softmax of, back to the product of queries and keys.

    Returns:
        None where there is no such product behind it.
    """
    scale, softcap, masks, interior = 1.0, 0.0, list[Mask](), list["Node"]()
    while (node := producer(value)) is not None and not is_op(node, "MatMul"):
        interior.append(node)
        if (split := _scaled(node)) is not None:
            value, factor = split
            if (tanh := producer(value, "Tanh")) is not None:
                inner = producer(tanh.inputs[0])
                below = _scaled(inner)
                if inner is None or below is None or abs(below[1] * factor - 1) > CLOSE or softcap or scale != 1:
                    return None
                interior += [tanh, inner]
                value, softcap = below[0], factor
            else:
                scale *= factor
            continue
        found = _masked(node)
        if found is None:
            return None
        if scale != 1 or softcap:
            return Declined("it is masked before it is scaled")
        value, mask = found
        masks.append(mask)
    if node is None:
        return None
    interior.append(node)
    if why := _exposed(interior, reader):
        return Declined(why)
    query, key = (item for item in node.inputs if item is not None)
    scores = Scores(query, key, scale=scale, softcap=softcap, masks=masks, interior=interior)
    _peel_factors(scores)
    return scores


def single_heads(value: Value) -> Value | None:
    """Return the heads that `value` repeats, each for a group of queries next to each other; any order of axes 2, 3.

    Known by: `Reshape(Expand(h))` and `Reshape(Tile(h))` over an axis of length 1 behind the heads, an Expand or
    Tile of a single head, a Gather of heads by constant indices.
    """
    heads = size_of(value, 1)
    if not isinstance(heads, int) or rank(value) != 4:
        return None
    if (gathered := producer(value, "Gather")) is not None:
        return _gathered_heads(gathered, heads)
    joined = producer(value, "Reshape")
    repeated = producer(input_at(joined, 0) if joined is not None else value, "Expand", "Tile")
    source = input_at(repeated, 0) if repeated is not None else None
    if repeated is None or source is None or rank(source) != (4 if joined is None else 5):
        return None
    axis = 1 if joined is None else 2
    if size_of(source, axis) != 1 or not _repeats_only(repeated, axis):
        return None
    if joined is None:
        return source
    single = size_of(source, 1)
    if not isinstance(single, int) or heads % single or size_of(source, 4) != size_of(value, 3):
        return None
    if 1 in (size_of(source, 0), size_of(value, 0)) and size_of(source, 0) != size_of(value, 0):
        return None
    return _without_axis(source)


def _scaled(node: Node | None) -> tuple[Value, float] | None:
    """Return what `node` multiplies by one constant number, and the number."""
    found = read_scale(node)
    if node is None or found is None or raises_rank(node, found[0]) or not math.isfinite(found[1]):
        return None
    return found


def _masked(node: Node) -> tuple[Value, Mask] | None:
    """Return the scores that `node` masks, and the mask."""
    if is_op(node, "Where"):
        condition, shown, hidden = node.inputs
        for value, other, keeps in ((shown, hidden, True), (hidden, shown, False)):
            fill = scalar(other)
            if value is not None and fill is not None and not is_constant(value):
                return value, Mask(shown=condition, keeps=keeps, fill=fill)
        return None
    if not is_op(node, "Add", "Sum") or len(node.inputs) != 2:
        return None
    left, right = node.inputs
    for value, other in ((left, right), (right, left)):
        if value is not None and _leads_to_product(value):
            return value, Mask(value=other)
    return None


def _leads_to_product(value: Value | None) -> bool:
    for _ in range(STEPS):
        node = producer(value)
        if node is None or is_op(node, "MatMul"):
            return node is not None
        if is_op(node, "Tanh"):
            value = node.inputs[0]
        elif (split := _scaled(node)) is not None:
            value = split[0]
        elif is_op(node, "Where"):
            value = node.inputs[1] if scalar(node.inputs[1]) is None else node.inputs[2]
        elif is_op(node, "Add", "Sum"):
            return any(_leads_to_product(side) for side in node.inputs)
        else:
            return False
    return False


def _exposed(interior: Sequence[Node], reader: Node) -> str:
    for node in interior:
        if not has_one_use(node.outputs[0]):
            return f"the scores {node.outputs[0].name!r} are read elsewhere or are a graph output"
        if node.graph is not reader.graph:
            return "its nodes are in different graphs"
    return ""


def _peel_factors(scores: Scores) -> None:
    """Take the factors off both operands of the product, and transpositions off the keys."""
    while (node := producer(scores.query)) is not None and (split := _scaled(node)) is not None:
        scores.query, factor = split
        scores.scale *= factor
    while (node := producer(scores.key)) is not None:
        if (split := _scaled(node)) is not None:
            scores.key, factor = split
            scores.scale *= factor
        elif is_op(node, "Transpose") and node.inputs[0] is not None:
            inner = attribute_list(node, "perm", [3, 2, 1, 0])
            if len(inner) != 4:
                return
            scores.key = node.inputs[0]
            scores.order = tuple(inner[axis] for axis in scores.order)
        else:
            return


def _gathered_heads(node: Node, heads: int) -> Value | None:
    source, indices = input_at(node, 0), integers(input_at(node, 1))
    if source is None or indices is None or attribute(node, "axis", 0) not in (1, -3):
        return None
    single = size_of(source, 1)
    if not isinstance(single, int) or heads % single or heads == single:
        return None
    return source if indices == [index // (heads // single) for index in range(heads)] else None


def _repeats_only(node: Node, axis: int) -> bool:
    """Say whether `node` repeats along `axis`; an Expand of others could only be from length 1, which shows."""
    if is_op(node, "Tile"):
        repeats = integers(input_at(node, 1))
        return repeats is not None and all(count == 1 or place == axis for place, count in enumerate(repeats))
    depth = rank(node.outputs[0])
    return depth is not None and depth == rank(node.inputs[0])


def _without_axis(source: Value) -> Value | None:
    """Return what was given the axis of length 1 at place 2, if that is how `source` was made."""
    maker = producer(source, "Unsqueeze", "Reshape")
    value = input_at(maker, 0) if maker is not None else None
    if maker is None or value is None or rank(value) != 4:
        return None
    if is_op(maker, "Unsqueeze"):
        return value if integers(input_at(maker, 1)) in ([2], [-3]) else None
    kept = [size_of(source, axis) for axis in (0, 1, 3, 4)]
    return value if kept == [size_of(value, axis) for axis in range(4)] and None not in kept else None
