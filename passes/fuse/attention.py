"""How attention is read off the graph: from a softmax back to queries, keys and masks, and on to the values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from npuopt.graph import (
    attribute,
    attribute_list,
    has_one_use,
    is_op,
    only_user,
    producer,
    rank,
    scalar,
)
from npuopt.passes.fuse.attention_mask import Mask
from npuopt.passes.fuse.score_steps import masked, scaled
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Node, Value

IDENTITY, SWAP = (0, 1, 2, 3), (0, 1, 3, 2)
CLOSE = 1e-3
"""How far the two factors of a softcap may be from each other's inverse: constants are rounded."""


@dataclass
class Scores:
    """What makes the scores of an attention.

    Attributes:
        query, key: the product's operands without their factors; `key` still has to be brought to `order`.
        order: the axes of `key` that are batch, heads, length, size; of rank 3, it gets a batch ahead of its axes.
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


def read_end(node: Node) -> tuple[Node, bool] | None:
    """Return the product with the values, and whether NaN is replaced by zero ahead of it."""
    weights, guarded = node.outputs[0], False
    if rank(weights) is None or attribute(node, "axis", -1) not in (-1, (rank(weights) or 0) - 1):
        return None
    guard = next((use.node for use in weights.uses() if is_op(use.node, "Where")), None)
    if guard is not None and scalar(guard.inputs[1]) == 0 and guard.inputs[2] is weights:
        check = producer(guard.inputs[0], "IsNaN")
        if check is None or check.inputs[0] is not weights or len(weights.uses()) != 2 or weights.is_graph_output():
            return None
        if not has_one_use(check.outputs[0]):
            return None
        weights, guarded = guard.outputs[0], True
    product = only_user(weights)
    if product is None or not is_op(product, "MatMul") or product.inputs[0] is not weights:
        return None
    return (product, guarded) if product.graph is node.graph and product.inputs[1] is not weights else None


def read_scores(value: Value, reader: Node) -> Scores | Declined | None:
    """Follow `value`, which `reader` takes the softmax of, back to the product of queries and keys.

    Returns:
        None where there is no such product behind it.
    """
    scale, softcap, masks, interior = 1.0, 0.0, list[Mask](), list["Node"]()
    while (node := producer(value)) is not None and not is_op(node, "MatMul"):
        interior.append(node)
        if (split := scaled(node)) is not None:
            value, factor = split
            if (tanh := producer(value, "Tanh")) is not None:
                inner = producer(tanh.inputs[0])
                below = scaled(inner)
                if inner is None or below is None or abs(below[1] * factor - 1) > CLOSE or softcap or scale != 1:
                    return None
                interior += [tanh, inner]
                value, softcap = below[0], factor
            else:
                scale *= factor
            continue
        found = masked(node)
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


def _exposed(interior: Sequence[Node], reader: Node) -> str:
    for node in interior:
        if not has_one_use(node.outputs[0]):
            return f"the scores {node.outputs[0].name!r} are read elsewhere or are a graph output"
        if node.graph is not reader.graph:
            return "its nodes are in different graphs"
    return ""


def _peel_factors(scores: Scores) -> None:
    """Take the factors off both operands of the product, and transpositions off the keys."""
    while (node := producer(scores.query)) is not None and (split := scaled(node)) is not None:
        scores.query, factor = split
        scores.scale *= factor
    while (node := producer(scores.key)) is not None:
        if (split := scaled(node)) is not None:
            scores.key, factor = split
            scores.scale *= factor
        elif is_op(node, "Transpose") and node.inputs[0] is not None:
            inner = attribute_list(node, "perm", [*reversed(range(rank(node.inputs[0]) or 0))])
            if len(inner) == 3:  # heads alone, to which a batch of one comes in front
                inner = [0, *(axis + 1 for axis in inner)]
            if len(inner) != 4:
                return
            scores.key = node.inputs[0]
            scores.order = tuple(inner[axis] for axis in scores.order)
        else:
            return
