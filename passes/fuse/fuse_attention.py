from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import (
    Builder,
    element_type,
    rank,
)
from npuopt.passes.fuse import attention_mask
from npuopt.passes.fuse.attention import IDENTITY, Scores, read_end, read_scores
from npuopt.passes.fuse.attention_mask_writing import joined, misfit, written_out
from npuopt.passes.fuse.repeated_heads import single_heads
from npuopt.passes.fuse.sizes import may_broadcast, size_of
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseAttention(NodePass):
    """A softmax of scaled, masked products of queries and keys, times values, becomes Attention.

    `MatMul(Softmax(MatMul(q, Transpose(k)) * scale + mask), v) -> Attention<scale>(q, k, v, mask)`; the scale may be
    anywhere between q, k and the mask, the mask may be added or replace scores (`Where`), scores may be capped by
    Tanh, and heads that an Expand, Tile or Gather repeats for groups of queries are taken once. A constant mask that
    is causal becomes the attribute. Tensors of rank 3, whose batch and heads are one axis, get a batch of one.

    Left alone: scores that are read elsewhere; other ranks than 3 or 4; sizes that are known to broadcast; a mask ahead
    of the scale; a mask by minus infinity that may hide every key from a query, where the softmax is NaN and
    Attention gives zero; several masks that may do so together; masks in half precision.

    Taken for granted: the minus infinities of a float mask that is given at run time leave each query a key; sizes
    that are not static do not broadcast, and where they do the op refuses them at run time. A guard against NaN
    behind the softmax is left out: where it does more than show hidden queries zeros, which is when scores are NaN
    themselves, NaN comes out.

    Attributes:
        assume_visible: take it that every query sees a key, whatever its mask.
    """

    name = "fuse-attention"
    op_types = ("Softmax",)
    needs = frozenset({"shapes-known"})

    assume_visible: bool = False

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the attention whose softmax is `node`."""
        end = read_end(node)
        if end is None or node.inputs[0] is None:
            return None
        product, guarded = end
        scores = read_scores(node.inputs[0], node)
        if scores is None or isinstance(scores, Declined):
            return scores
        if why := _not_covered(node, product, scores):
            return Declined(why)
        masks = [attention_mask.unfolded(mask) for mask in scores.masks]
        kind = element_type(scores.query)
        if kind is None or not kind.is_floating_point():
            return Declined(f"it computes in {kind}")
        if why := attention_mask.why_not(masks, kind, guarded=guarded, trusted=self.assume_visible):
            return Declined(why)
        value = product.inputs[1]
        assert value is not None  # noqa: S101 -- a MatMul has two inputs
        if why := misfit(masks, scores.query, value):
            return Declined(why)
        build = Builder(edit, product)
        build.type = kind
        if rank(value) == 3:
            lifted = [build("Unsqueeze", item, build.integers(0)) for item in (scores.query, scores.key, value)]
            scores.query, scores.key, value = lifted
        return _fuse(scores, value, masks, product, build, guarded=guarded or self.assume_visible)


def _not_covered(node: Node, product: Node, scores: Scores) -> str:
    """Return why the shapes or factors are not those of Attention, or an empty string."""
    values = [scores.query, scores.key, product.inputs[1], node.outputs[0], product.outputs[0]]
    ranks = [rank(value) for value in values]
    if ranks not in ([4] * 5, [3] * 5):
        return f"its ranks are {ranks}, not all 4 or all 3"
    if scores.scale <= 0 or not math.isfinite(scores.scale):
        return f"its scale is {scores.scale:g}"
    if scores.softcap < 0:
        return f"its cap is {scores.softcap:g}"
    lead = scores.order[0] if ranks[0] == 4 else scores.order[1] - 1
    first, second = (size_of(scores.query, 0), size_of(scores.key, lead))
    third = size_of(product.inputs[1], 0) if product.inputs[1] is not None else None
    differ = ranks[0] == 3 and (first is None or not first == second == third)
    if differ or may_broadcast(first, second) or may_broadcast(first, third):
        return f"the batches of queries, keys and values broadcast: {first}, {second}, {third}"
    if any(0 in (size_of(value, axis) for axis in range(ranks[0] or 0)) for value in values if value is not None):
        return "it has no elements"
    return ""


def _fuse(
    scores: Scores, value: Value, masks: list[attention_mask.Mask], product: Node, build: Builder, *, guarded: bool
) -> Outcome:
    key, order = scores.key, scores.order
    pair = (single_heads(key) if order[:2] == (0, 1) else None, single_heads(value))
    counts = [size_of(item, 1) if item is not None else None for item in pair]
    if pair[0] is not None and pair[1] is not None and counts[0] == counts[1]:
        key, value = pair[0], pair[1]
    if why := _heads_differ(scores.query, size_of(key, order[1]), size_of(value, 1)):
        return Declined(why)
    queries, keys = size_of(scores.query, 2), size_of(value, 2)
    causal = attention_mask.is_causal(masks, queries, keys)
    mask = None if causal else joined(masks, build, guarded=guarded)
    if mask is not None:
        mask = written_out(mask, scores.query, value, build)
    if order != IDENTITY:
        key = build("Transpose", key, perm=list(order))
    result = build(
        "Attention",
        scores.query,
        key,
        value,
        mask,
        scale=_scale(scores),
        softcap=scores.softcap or None,
        is_causal=1 if causal else None,
    )
    if rank(product.outputs[0]) == 3:
        result = build("Squeeze", result, build.integers(0))
    build.edit.replace(product.outputs[0], result)
    build.edit.erase_unread(product)
    return Changed(f"{len(scores.interior) + 2} nodes became Attention")


def _heads_differ(query: Value, keys: object, values: object) -> str:
    """Return why the heads do not go together, or an empty string."""
    queries = size_of(query, 1)
    fits = queries == keys or (isinstance(queries, int) and isinstance(keys, int) and keys and queries % keys == 0)
    if keys != values or keys is None or not fits:
        return f"its heads broadcast: {queries} of queries, {keys} of keys, {values} of values"
    return ""


def _scale(scores: Scores) -> float | None:
    """Return the scale, or None where it is the one that the op takes by itself."""
    size = size_of(scores.query, 3)
    usual = isinstance(size, int) and math.isclose(scores.scale, 1 / math.sqrt(size), rel_tol=1e-6)
    return None if usual else scores.scale
