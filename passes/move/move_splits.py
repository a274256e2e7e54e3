"""Splits go ahead of the axes of high rank that they take apart."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import Builder, attribute, attribute_list, input_at, integers, only_user, producer, static_shape
from npuopt.passes.lower.axes import SMALL
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class MoveSplits(NodePass):
    """Split of an axis that a Reshape spread becomes a Split of what the Reshape reads, and a Reshape for each part.

    `Squeeze(Split(Transpose<perm = [2, 0, 3, 1, 4]>(Reshape(x, [1, n, 3, h, d]))))
    -> Transpose<perm = [0, 2, 1, 3]>(Reshape(Split(x), [1, n, h, d]))`, as queries, keys and values of one product are
    taken apart: no tensor has the rank of all.

    Left alone: ranks that the target takes (without a target, up to 4); tensors on the way that are read elsewhere;
    parts that others than Squeezes of that axis read; an axis that is not the outermost of those that one was spread
    into; shapes that are not static or have no elements.
    """

    name: ClassVar[str] = "move-splits"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    op_types: ClassVar[tuple[str, ...]] = ("Split",)

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Look at what made the value that is split."""
        whole = node.inputs[0]
        turn = producer(whole, "Transpose")
        spread = producer(input_at(turn or node, 0), "Reshape")
        if whole is None or spread is None:
            return None
        source, sizes = static_shape(spread.inputs[0]), static_shape(spread.outputs[0])
        if source is None or sizes is None or 0 in source:
            return Declined("the shapes of its Reshape are not static or have no elements")
        if len(sizes) <= (SMALL if target is None else target.shapes.max_rank or len(sizes)):
            return None
        if any(only_user(value) is None for value in (spread.outputs[0], whole)):
            return Declined("what it splits is read elsewhere too")
        axis = attribute(node, "axis", 0) % len(sizes)
        order = attribute_list(turn, "perm", range(len(sizes) - 1, -1, -1)) if turn else list(range(len(sizes)))
        found = _spread_from(order[axis], source, sizes)
        if found is None:
            return Declined("the axis is not the outermost of those that one was spread into")
        squeezes = [_squeeze(part, axis) for part in node.outputs]
        ends = [squeeze for squeeze in squeezes if squeeze is not None]
        if len(ends) < len(squeezes):
            return Declined("others than Squeezes of that axis read its parts")
        build = Builder(edit, node)
        lengths = build.integers(*[source[found] // sizes[order[axis]]] * len(ends))
        parts = build.many("Split", len(ends), spread.inputs[0], lengths, axis=found)
        shape = build.integers(*(size for place, size in enumerate(sizes) if place != order[axis]))
        turned = [place - (place > order[axis]) for place in order if place != order[axis]]
        for end, part in zip(ends, parts, strict=True):
            alone = build("Reshape", part, shape)
            edit.replace(end.outputs[0], build("Transpose", alone, perm=turned) if turn else alone)
            edit.erase(end)
        edit.erase_unread(node)
        return Changed(f"its {len(ends)} parts have {len(turned)} axes each")


def _spread_from(axis: int, source: tuple[int, ...], sizes: tuple[int, ...]) -> int | None:
    """Return the axis of the Reshape's input whose outermost part became `axis`."""
    outer, inner = prod(sizes[:axis]), prod(sizes[axis + 1 :])
    for place, size in enumerate(source):
        if size > 1 and prod(source[:place]) == outer:
            return place if inner % prod(source[place + 1 :]) == 0 else None
    return None


def _squeeze(part: Value, axis: int) -> Node | None:
    """Return the Squeeze of that axis which alone reads a part."""
    reader = only_user(part)
    if reader is None or reader.op_type != "Squeeze":
        return None
    shape, axes = static_shape(part), integers(input_at(reader, 1))
    return reader if shape is not None and axes is not None and [a % len(shape) for a in axes] == [axis] else None
