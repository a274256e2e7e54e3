from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, attribute_list, input_at, integers, label, producer, rank
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target

SEARCHES = ("ArgMax", "ArgMin")
"""Reductions whose one axis is an attribute."""
REDUCTIONS = tuple(f"Reduce{kind}" for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum"))


@dataclass(frozen=True)
class FuseReducedTranspose(NodePass):
    """A Transpose ahead of a reduction that drops the axes which were moved past others goes into the reduction's axes.

    `ReduceMean<keepdims = 0>(Transpose<perm = [0, 2, 3, 1]>(x), [1, 2]) -> ReduceMean<keepdims = 0>(x, [2, 3])`; so
    converters from channels-last frameworks pool, and find the class of each pixel with ArgMax.

    Left alone: axes that are kept, or computed at run time; axes that come out in another order than they have in x;
    what the target takes as it is and not along the other axes.
    """

    name = "fuse-reduced-transpose"
    op_types = (*REDUCTIONS, "ReduceSumSquare", *SEARCHES)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Let the reduction `node` read what the Transpose ahead of it reads."""
        turner = producer(node.inputs[0], "Transpose")
        source = None if turner is None else input_at(turner, 0)
        depth = rank(source)
        if turner is None or source is None or depth is None or attribute(node, "keepdims", 1):
            return None
        axes = _axes(node, depth)
        if axes is None:
            return Declined("the axes that it reduces are computed at run time")
        order = attribute_list(turner, "perm", range(depth)[::-1])
        left = [order[axis] for axis in range(depth) if axis not in axes]
        if left != sorted(left):
            return Declined(f"the axes that it leaves, {left} of {source.name!r}, come out in this order")
        made = _emit(node, source, sorted(order[axis] for axis in axes), edit)
        maker = made.producer()
        if target is not None and maker is not None and target.accepts(node) and not (verdict := target.accepts(maker)):
            edit.erase(maker)
            return Declined(f"{target.name} refuses it along the axes of {source.name!r}: {verdict.reasons[0]}")
        edit.replace_node(node, made)
        edit.erase_unread(turner)
        return Changed(f"reads {source.name!r} ahead of {label(turner)}")


def _axes(node: Node, depth: int) -> list[int] | None:
    """Return the axes that are reduced, none of them negative; None where that is not known."""
    if node.op_type in SEARCHES:
        return [attribute(node, "axis", 0) % depth]
    given = input_at(node, 1)
    axes = [] if given is None else integers(given)
    if axes is None:
        return None
    if axes:
        return [axis % depth for axis in axes]
    return [] if attribute(node, "noop_with_empty_axes", 0) else [*range(depth)]


def _emit(node: Node, source: Value, axes: list[int], edit: Editor) -> Value:
    """Emit the reduction of `source` along these axes."""
    if node.op_type in SEARCHES:
        attributes = {**node.attributes, "axis": axes[0]}
        return edit.emit(node.op_type, [source], attributes, before=node, name=node.name or "")
    reduced = edit.constant(np.array(axes, np.int64), near=node)
    return edit.emit(node.op_type, [source, reduced], node.attributes, before=node, name=node.name or "")
