"""Slices go ahead of what computes more than they keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from npuopt.graph import attribute, input_at, integers, only_user, rank, scalar, static_shape
from npuopt.passes.move.slice_paths import Cut, path_through
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target

    Bounds = dict[int, tuple[int, int, int]]

TO_THE_END = 2**63 - 1


@dataclass(frozen=True)
class MoveSlices(NodePass):
    """Slice, or Gather of one place, of what an op computes becomes the op on a Slice of what it reads.

    y = Slice(MatMul(x, w), last row) -> y = MatMul(Slice(x, last row), w)

    The last token's logits need one row of the largest product in a language model. Passed are MatMul, Gemm, Conv
    (batch and output channels), normalizations and Softmax along other axes, Transpose, and elementwise ops with one
    input to slice.

    Left alone: results that are read elsewhere too; bounds computed at run time; slices that keep everything or
    nothing; axes
    that the op mixes; elementwise ops that would need a Slice of several inputs.
    """

    name: ClassVar[str] = "move-slices"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    op_types: ClassVar[tuple[str, ...]] = ("Slice", "Gather")
    repeat: ClassVar[bool] = True

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Look at the op that makes what is sliced."""
        del target
        value = node.inputs[0]
        maker = value.producer() if value is not None else None
        if value is None or maker is None or maker.graph is not node.graph:
            return None
        path = path_through(maker)
        if path is None or (node.op_type == "Gather" and scalar(input_at(node, 1)) is None):
            return None
        bounds, before, after = _bounds(node), static_shape(value), static_shape(node.outputs[0])
        if bounds is None or before is None or after is None:
            return Declined("its bounds or the shape of what it slices are not known")
        if 0 in after:  # an axis of size one, which counts as broadcast, would stay whole
            return Declined("it keeps nothing")
        taken = [axis for axis, bound in bounds.items() if range(before[axis])[slice(*bound)] != range(before[axis])]
        if not taken:
            return None
        if only_user(value) is not node:
            return Declined(f"{value.name} is read elsewhere too")
        cuts = path(maker, taken)
        if isinstance(cuts, str):
            return Declined(cuts)
        inputs = list(maker.inputs)
        for cut in cuts:
            inputs[cut.index] = _sliced(node, inputs[cut.index], bounds, cut, edit)
        made = edit.emit(maker.op_type, inputs, maker.attributes, before=node, name=maker.name or "")
        if node.op_type == "Gather" and not rank(input_at(node, 1)):
            made = edit.emit("Squeeze", [made, edit.constant(np.array(taken, np.int64), near=node)], before=node)
        edit.replace_node(node, made)
        edit.erase_unread(maker)
        return Changed(f"moved ahead of {maker.op_type}")


def _bounds(node: Node) -> Bounds | None:
    """Return start, end and step of each sliced axis, or None where they are not constant."""
    depth = rank(node.inputs[0])
    if depth is None:
        return None
    if node.op_type == "Gather":
        index = int(scalar(input_at(node, 1)) or 0)
        return {attribute(node, "axis", 0) % depth: (index, index + 1 if index != -1 else TO_THE_END, 1)}
    starts = integers(input_at(node, 1))
    ends = integers(input_at(node, 2))
    axes = integers(input_at(node, 3)) if input_at(node, 3) is not None else list(range(depth))
    steps = integers(input_at(node, 4)) if input_at(node, 4) is not None else [1] * depth
    if starts is None or ends is None or axes is None or steps is None:
        return None
    columns = zip(axes, starts, ends, steps, strict=False)
    return {axis % depth: (start, end, step) for axis, start, end, step in columns}


def _sliced(node: Node, value: Value | None, bounds: Bounds, cut: Cut, edit: Editor) -> Value:
    """Slice one input of the op with the bounds that the Slice behind the op has for the same data."""
    columns = [*zip(*(bounds[axis] for axis in cut.axes), strict=True)]
    starts, ends, steps = columns
    wanted: list[Sequence[int]] = [starts, ends, list(cut.axes.values())]
    wanted += [steps] if set(steps) != {1} else []
    given = [input_at(node, index) if node.op_type == "Slice" else None for index in (1, 2, 3, 4)]
    inputs = [
        old if integers(old) == list(numbers) else edit.constant(np.array(numbers, np.int64), near=node)
        for old, numbers in zip(given, wanted, strict=False)
    ]
    return edit.emit("Slice", [value, *inputs], before=node)
