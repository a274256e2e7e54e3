"""Slices go ahead of what computes more than they keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from npuopt.graph import input_at, integers, only_user, static_shape
from npuopt.passes.move.slice_paths import Cut, path_through
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class MoveSlices(NodePass):
    """Slice of what an op computes becomes the op on a Slice of what it reads.

    y = Slice(MatMul(x, w), last row) -> y = MatMul(Slice(x, last row), w)

    The last token's logits need one row of the largest product in a language model. Passed are MatMul, Gemm, Conv
    (batch and output channels), normalizations and Softmax along other axes, Transpose, and elementwise ops with one
    input to slice.

    Left alone: results that are read elsewhere too; bounds computed at run time; slices that keep everything; axes
    that the op mixes; elementwise ops that would need a Slice of several inputs.
    """

    name: ClassVar[str] = "move-slices"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    op_types: ClassVar[tuple[str, ...]] = ("Slice",)
    repeat: ClassVar[bool] = True

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Look at the op that makes what is sliced."""
        del target
        value = node.inputs[0]
        maker = value.producer() if value is not None else None
        if value is None or maker is None or maker.graph is not node.graph:
            return None
        axes = _axes(node)
        before, after = static_shape(value), static_shape(node.outputs[0])
        path = path_through(maker)
        if path is None:
            return None
        if axes is None or before is None or after is None:
            return Declined("its bounds or the shape of what it slices are not known")
        if before == after:
            return None
        if only_user(value) is not node:
            return Declined(f"{value.name} is read elsewhere too")
        cuts = path(maker, [axis for axis in axes if before[axis] != after[axis]])
        if isinstance(cuts, str):
            return Declined(cuts)
        inputs = list(maker.inputs)
        for cut in cuts:
            inputs[cut.index] = _sliced(node, inputs[cut.index], axes, cut, edit)
        made = edit.emit(maker.op_type, inputs, maker.attributes, before=node, name=maker.name or "")
        edit.replace_node(node, made)
        edit.erase_unread(maker)
        return Changed(f"moved ahead of {maker.op_type}")


def _axes(node: Node) -> list[int] | None:
    """Return the sliced axes, counted from the front, or None where bounds are not constant."""
    starts, depth = integers(input_at(node, 1)), static_shape(node.inputs[0])
    given = [integers(input_at(node, index)) for index in (2, 3, 4) if input_at(node, index) is not None]
    if starts is None or depth is None or any(item is None for item in given):
        return None
    axes = integers(input_at(node, 3)) if input_at(node, 3) is not None else list(range(len(starts)))
    return None if axes is None else [axis % len(depth) for axis in axes]


def _sliced(node: Node, value: Value | None, axes: list[int], cut: Cut, edit: Editor) -> Value:
    """Slice one input of the op with the bounds that the Slice behind the op has for the same data."""
    picked = [axes.index(axis) for axis in cut.axes]
    places = list(cut.axes.values())
    bounds = [_picked(node, index, picked, edit) for index in (1, 2, 4)]
    same = places == integers(input_at(node, 3))
    where = input_at(node, 3) if same else edit.constant(np.array(places, np.int64), near=node)
    starts, ends, steps = bounds
    return edit.emit("Slice", [value, starts, ends, where, *([] if steps is None else [steps])], before=node)


def _picked(node: Node, index: int, picked: list[int], edit: Editor) -> Value | None:
    """Return an input of the Slice with the numbers at these places only."""
    given = input_at(node, index)
    numbers = integers(given)
    if numbers is None or picked == list(range(len(numbers))):
        return given
    return edit.constant(np.array([numbers[place] for place in picked], np.int64), near=node)
