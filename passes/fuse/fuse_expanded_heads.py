from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, Op, attribute_list, input_at, only_user, producer, static_shape
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target

SWAP = [0, 1, 3, 2]


@dataclass(frozen=True)
class FuseExpandedHeads(NodePass):
    """A MatMul with heads that were repeated for groups of queries takes each head once instead.

    `MatMul(q, Reshape(Expand(k))) -> Reshape(MatMul(Reshape(q), Reshape(k)))`, with a Transpose of the last two
    axes of k or without: the queries of a group go side by side through the head that they share, and nothing is
    copied.

    Left alone: shapes that are not static; an Expand of another axis than the one behind the heads; heads repeated
    for other readers too.
    """

    name = "fuse-expanded-heads"
    op_types = ("MatMul",)
    patterns = (Op("Expand"),)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the repetition that makes the second operand of `node`."""
        query, repeated = node.inputs
        turned = producer(repeated, "Transpose")
        if turned is not None and attribute_list(turned, "perm") != SWAP:
            return None
        joined = producer(input_at(turned, 0) if turned is not None else repeated, "Reshape")
        expanded = producer(input_at(joined, 0), "Expand") if joined is not None else None
        if query is None or joined is None or expanded is None:
            return None
        single = _single_heads(joined, expanded)
        if isinstance(single, Declined):
            return single
        shape = static_shape(query)
        if shape is None or len(shape) != 4 or shape[0] != single[0] or shape[1] % single[1]:
            return Declined("the shape of the queries is not static, or does not fit the heads")
        chain = [value for made in (turned, joined, expanded) if made is not None for value in made.outputs]
        readers = [only_user(value) for value in chain]
        if any(reader is None or reader.graph is not node.graph for reader in readers):
            return Declined("the repeated heads are read elsewhere or are a graph output")
        build = Builder(edit, node)
        batch, count, length, size = shape
        grouped = build("Reshape", query, build.integers(batch, single[1], count // single[1] * length, size))
        heads = build("Reshape", input_at(expanded, 0), build.integers(*single))
        factor = build("Transpose", heads, perm=SWAP) if turned is not None else heads
        product = build("MatMul", grouped, factor)
        width = single[2] if turned is not None else single[3]
        result = build("Reshape", product, build.integers(batch, count, length, width))
        edit.replace(node.outputs[0], result)
        edit.erase_unread(node)
        return Changed(f"takes each of {single[1]} heads once instead of {count // single[1]} times")


def _single_heads(joined: Node, expanded: Node) -> tuple[int, ...] | Declined:
    """Return the shape of the heads before they were repeated, [batch, heads, length, size], or why there is none."""
    before, after, whole = (
        static_shape(value) for value in (input_at(expanded, 0), expanded.outputs[0], joined.outputs[0])
    )
    if before is None or after is None or whole is None:
        return Declined("the shapes of the repeated heads are not static")
    if len(before) != 5 or len(after) != 5 or before[2] != 1 or before[:2] + before[3:] != after[:2] + after[3:]:
        return Declined(f"the Expand from {list(before)} to {list(after)} does not repeat heads for groups")
    if whole != (after[0], after[1] * after[2], *after[3:]):
        return Declined(f"the Reshape to {list(whole)} does not join heads and groups")
    return before[:2] + before[3:]
