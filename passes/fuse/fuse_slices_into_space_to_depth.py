from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Op, attribute, element_type, input_at, producer, static_shape
from npuopt.passes.fuse.blocks import COVERED
from npuopt.passes.fuse.channel_order import reorder, why_not_reordered
from npuopt.passes.fuse.slices import places, slice_bounds
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target

MOST_SLICES = 2
"""Slices one after the other, one for rows and one for columns."""


@dataclass(frozen=True)
class FuseSlicesIntoSpaceToDepth(NodePass):
    """A Concat of every second row and column, in each phase, becomes SpaceToDepth.

    `Concat<axis = 1>(x[:, :, 0::2, 0::2], x[:, :, 1::2, 0::2], x[:, :, 0::2, 1::2], x[:, :, 1::2, 1::2]) ->
    SpaceToDepth<blocksize = 2>(x)`, as YOLO's Focus is exported; the phases may come in any order where only
    convolutions with constant weights read them, whose weights are put in the op's order. Larger blocks likewise.

    Left alone: phases that are missing or come twice; shapes that are not static; other orders for other readers;
    other types than float and double.
    """

    name = "fuse-slices-into-space-to-depth"
    op_types = ("Concat",)
    patterns = (Op("Slice"),)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the slices that `node` puts side by side."""
        block = math.isqrt(len(node.inputs))
        if attribute(node, "axis", 0) not in (1, -3) or block < 2 or block * block != len(node.inputs):
            return None
        phases = [_phase(value) for value in node.inputs]
        source = phases[0][0] if phases[0] else None
        shape = static_shape(source)
        if source is None or any(phase is None or phase[0] is not source for phase in phases):
            return None
        if shape is None or len(shape) != 4 or 0 in shape or shape[2] % block or shape[3] % block:
            return Declined("the shape of what is sliced is not static, has no elements or does not fit its blocks")
        if element_type(source) not in COVERED:
            return Declined(f"it slices {element_type(source)}")
        wanted = {(range(row, shape[2], block), range(column, shape[3], block)): (row, column)
                  for row in range(block) for column in range(block)}  # fmt: skip
        taken = [wanted.get(phase[1:]) for phase in phases if phase is not None]
        if set(taken) != set(wanted.values()):
            return Declined(f"its slices are not the {block * block} phases of blocks of {block}")
        order = [
            (phase[0] * block + phase[1]) * shape[1] + channel
            for phase in taken
            if phase is not None
            for channel in range(shape[1])
        ]
        if why := why_not_reordered(node.outputs[0], order):
            return Declined(why)
        reorder(node.outputs[0], edit.emit("SpaceToDepth", [source], {"blocksize": block}, before=node), order, edit)
        edit.erase_unread(node)
        return Changed(f"became SpaceToDepth in blocks of {block}")


def _phase(value: Value | None) -> tuple[Value, range, range] | None:
    """Return what a value is sliced of and which rows and columns it keeps; None where it keeps all of either."""
    chain: list[Node] = []
    while len(chain) < MOST_SLICES and (node := producer(value, "Slice")) is not None:
        chain.append(node)
        value = input_at(node, 0)
    shape = static_shape(value)
    if not chain or value is None or shape is None or len(shape) != 4:
        return None
    kept = [range(size) for size in shape]
    for node in reversed(chain):
        bounds = slice_bounds(node, 4)
        if bounds is None or not set(bounds) <= {2, 3}:
            return None
        for axis, bound in bounds.items():
            kept[axis] = places(kept[axis], bound)
    return (value, kept[2], kept[3]) if len(kept[2]) < shape[2] and len(kept[3]) < shape[3] else None
