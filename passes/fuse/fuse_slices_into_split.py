from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, dims, input_at, is_op, users
from npuopt.passes.fuse.slices import places, slice_bounds
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseSlicesIntoSplit(NodePass):
    """Slices that take one value apart along an axis, without gap or overlap, become one Split.

    `Slice(x, 0, 2), Slice(x, 2, 5) -> Split(x, [2, 5])`

    Left alone: slices of several axes, with steps, with bounds given at run time or of an axis of unknown length;
    slices that leave something out or overlap.
    """

    name = "fuse-slices-into-split"
    op_types = ("Slice",)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse `node` and the other slices of its input, where it is the one that starts at the front."""
        source = input_at(node, 0)
        found = _range(node)
        if source is None or found is None or found[1].start != 0:
            return None
        axis, first = found
        siblings = [user for user in users(source) if is_op(user, "Slice") and user.inputs[0] is source]
        if len(siblings) < 2:
            return None
        length = (dims(source) or ())[axis]
        chain, end = [node], first.stop
        while end != length:
            ranges = [(other, _range(other)) for other in siblings if other.graph is node.graph]
            behind = [
                (other, item[1].stop) for other, item in ranges if item and item[0] == axis and item[1].start == end
            ]
            if len({stop for _, stop in behind}) != 1:
                return Declined(f"its slices of axis {axis} leave something out or overlap")
            chain.append(behind[0][0])
            end = behind[0][1]
        if len(chain) < 2:
            return None
        ahead = next(other for other in node.graph or () if other in chain)
        build = Builder(edit, ahead)
        sizes = build.integers(*(len(item[1]) for item in map(_range, chain) if item is not None))
        for part, made in zip(chain, build.many("Split", len(chain), source, sizes, axis=axis), strict=True):
            edit.replace(part.outputs[0], made)
        for part in chain:
            edit.erase_unread(part)
        return Changed(f"{len(chain)} Slices became one Split of axis {axis}")


def _range(node: Node) -> tuple[int, range] | None:
    """Return the one axis that `node` slices, and which places it keeps, at least one and all in a row."""
    shape = dims(input_at(node, 0))
    bounds = slice_bounds(node, len(shape)) if shape is not None else None
    if shape is None or bounds is None or len(bounds) != 1:
        return None
    axis, bound = next(iter(bounds.items()))
    length = shape[axis]
    kept = places(range(length), bound) if isinstance(length, int) else range(0)
    return (axis, kept) if kept and kept.step == 1 else None
