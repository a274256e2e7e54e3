from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, DataType, Op, attribute, dims, element_type, input_at, is_op, producer, rank
from npuopt.passes.fuse.attention_mask import Mask, is_causal, visible
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.graph.editor import AttributeLike
    from npuopt.target import Target

KEY, VALUE, MASK = 1, 2, 3
"""Positions of inputs."""
LENGTH = 2
"""The axis of keys and values along which they are joined."""


@dataclass(frozen=True)
class FuseKeyValueCache(NodePass):
    """Concats of past with new keys and values become the past inputs and present outputs of Attention.

    `Attention(q, k', v', mask)` with `k' = Concat<axis = 2>(past_k, k)`, `v' = Concat<axis = 2>(past_v, v)` ->
    `Attention(q, k, v, mask, past_k, past_v)`, whose second and third outputs are k' and v'. A causal Attention counts
    places from the past's end once it knows of a past: a constant mask that does so becomes the attribute
    (`is_causal`), and the attribute a constant mask that counts from the past's start.

    Left alone: keys joined and values not; other numbers of new keys than of queries, which may be none; joined keys
    or values that others read than the graph's outputs and Shapes; more than one tensor ahead of the new one; ranks
    other than 4; a causal Attention with a mask beside, or of sizes that are not static; one with a past, or lengths,
    already.
    """

    name = "fuse-key-value-cache"
    op_types = ("Attention",)
    patterns = (Op("Attention"),)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the Concats that make keys and values of `node`."""
        joins = [producer(input_at(node, index), "Concat") for index in (KEY, VALUE)]
        if not any(map(_is_along_length, joins)):
            return None
        if why := _not_covered(node, joins):
            return Declined(why)
        (past_key, key), (past_value, value) = (join.inputs for join in joins if join is not None)
        build = Builder(edit, node)
        mask, attributes = _masked(node, build)
        made = build.many("Attention", 3, input_at(node, 0), key, value, mask, past_key, past_value, **attributes)
        edit.replace(node.outputs[0], made[0])
        edit.erase(node)
        for join, present in zip(joins, made[1:], strict=True):
            if join is not None:
                _measure_apart(join, edit)
                edit.replace(join.outputs[0], present)
                edit.erase_unread(join)
        return Changed("takes past keys and values by itself")


def _is_along_length(join: Node | None) -> bool:
    return join is not None and attribute(join, "axis", 0) in (LENGTH, LENGTH - 4)


def _not_covered(node: Node, joins: list[Node | None]) -> str:
    """Return why what is joined is not a cache of `node`, or an empty string."""
    if not all(map(_is_along_length, joins)):
        return "its keys or its values are not joined with past ones"
    if any(value is not None for value in node.inputs[MASK + 1 :]) or len(node.outputs) > 1:
        return "it has a past, lengths or further outputs already"
    if attribute(node, "is_causal", 0) and (input_at(node, MASK) is not None or _sizes(node) is None):
        return "it is causal, and would count places from the end of the past"
    if joins[0] is joins[1]:
        return "its keys are its values"
    for join in joins:
        if join is None or len(join.inputs) != 2 or any(rank(value) != 4 for value in join.inputs):
            return "other than two tensors of rank 4 are joined"
        lengths = {(dims(value) or (None,) * 4)[LENGTH] for value in (node.inputs[0], join.inputs[1])}
        if len(lengths) > 1 or lengths & {None, 0}:
            return "it is not known that there is a new key for each query"
        if join.graph is not node.graph or not _is_read_by(join.outputs[0], node):
            return f"the joined {join.outputs[0].name} is read elsewhere"
    return ""


def _sizes(node: Node) -> tuple[int, int] | None:
    """Return the numbers of queries and of keys, past ones included, where both are static."""
    lengths = tuple((dims(value) or (None,) * 4)[LENGTH] for value in node.inputs[: KEY + 1])
    return (lengths[0], lengths[1]) if isinstance(lengths[0], int) and isinstance(lengths[1], int) else None


def _masked(node: Node, build: Builder) -> tuple[Value | None, dict[str, AttributeLike]]:
    """Return mask and attributes that mean the same where places are counted from the end of the past."""
    mask, sizes = input_at(node, MASK), _sizes(node)
    attributes: dict[str, AttributeLike] = dict(node.attributes)
    if sizes is None:
        return mask, attributes
    queries, keys = sizes
    if attributes.pop("is_causal", None) is not None and attribute(node, "is_causal", 0):
        return build.edit.constant(visible(queries, keys), near=node), attributes
    shown = element_type(mask) == DataType.BOOL
    known = Mask(shown=mask) if shown else Mask(value=mask)
    if mask is not None and is_causal([known], queries, keys, keys - queries):
        return None, {**attributes, "is_causal": 1}
    return mask, attributes


def _is_read_by(value: Value, node: Node) -> bool:
    """Say whether only `node`, once, and the graph's outputs see a value, Shapes of it aside."""
    readers = [use.node for use in value.uses() if not is_op(use.node, "Shape")]
    return readers == [node]


def _measure_apart(join: Node, edit: Editor) -> None:
    """Let each Shape of what is joined be told by the two parts: a mask that depends on it comes ahead of the op."""
    for shape in [use.node for use in join.outputs[0].uses() if is_op(use.node, "Shape")]:
        build = Builder(edit, shape)
        past, new = (build("Shape", value) for value in join.inputs)
        whole = build("Add", past, build("Mul", new, build.integers(*(int(axis == LENGTH) for axis in range(4)))))
        first, last = attribute(shape, "start", 0), attribute(shape, "end", 4)
        edit.replace(shape.outputs[0], build("Slice", whole, build.integers(first), build.integers(last)))
        edit.erase(shape)
