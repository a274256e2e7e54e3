from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, dims, input_at, integers, is_op
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target

REDUCTIONS = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")
ELEMENTWISE = (
    *("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub"),
    *("Abs", "Exp", "Log", "Neg", "Reciprocal", "Relu", "Sigmoid", "Sqrt", "Tanh"),
)
MOST = 16
"""Ops between the reductions and the Reshape; the statistics of a normalization take seven."""


@dataclass(frozen=True)
class FuseReductionReshape(NodePass):
    """A Reshape or Unsqueeze that puts reduced axes back is not needed where the reductions keep them.

    `Reshape(f(ReduceMean<keepdims = 0>(x), ...)) -> f(ReduceMean<keepdims = 1>(x), ...)` with elementwise ops between,
    as JAX writes its normalizations. What else reads a value between reads a Reshape of the new one.

    Left alone: reductions of other axes than those that come back, operands that are broadcast, and anything but
    elementwise ops between.
    """

    name = "fuse-reduction-reshape"
    op_types = ("Reshape", "Unsqueeze")
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Let the reductions ahead of `node` keep their axes."""
        source, shape = input_at(node, 0), dims(node.outputs[0])
        flat = dims(source)
        if source is None or shape is None or flat is None or None in shape or len(shape) <= len(flat):
            return None
        maker = source.producer()
        if maker is None or not is_op(maker, *REDUCTIONS, *ELEMENTWISE):
            return None
        tree = _Tree(shape)
        if why := tree.gather(source):
            return Declined(why) if tree.axes else None
        if not tree.axes:  # nothing is reduced, and it is no axis of one that comes back
            return None
        for item in tree.nodes:
            keep = {"keepdims": 1} if is_op(item, *REDUCTIONS) else {}
            operands = [None if value is None else tree.kept.get(value, value) for value in item.inputs]
            tree.kept[item.outputs[0]] = edit.emit(item.op_type, operands, keep, before=item)
        edit.replace(node.outputs[0], tree.kept[source])
        edit.erase_unread(node)
        for item in reversed(tree.nodes):
            _give_back(item, tree, edit)
        return Changed(f"{len(tree.nodes)} ops keep the axes")


class _Tree:
    """The ops between reductions and a Reshape to `shape`, each behind those that it reads.

    Attributes:
        nodes: reductions, and elementwise ops behind them.
        kept: values that have the shape with the axes: of a squeezed one, what was squeezed.
        axes: the reduced axes.
    """

    def __init__(self, shape: tuple[int | str | None, ...]) -> None:
        self.shape = shape
        self.nodes: list[Node] = []
        self.kept: dict[Value, Value] = {}
        self.axes: list[int] = []
        self._flat: tuple[int | str | None, ...] | None = None

    def gather(self, value: Value) -> str:
        """Add what makes a value, or return why it cannot keep the axes."""
        node, flat = value.producer(), dims(value)
        self._flat = self._flat if self._flat is not None else flat
        if value in self.kept or (node is not None and node in self.nodes):
            return ""
        if flat != self._flat or node is None or len(self.nodes) == MOST:
            return f"{value.name!r} is no reduction, and not computed elementwise from some"
        if is_op(node, "Reshape", "Squeeze") and dims(input_at(node, 0)) == self.shape:
            self.kept[value] = node.inputs[0] or value
            return ""
        if is_op(node, *REDUCTIONS):
            return self._reduction(node)
        if not is_op(node, *ELEMENTWISE):
            return f"{value.name!r} is no reduction, and not computed elementwise from some"
        for operand in node.inputs:
            if operand is not None and not _is_number(operand) and (why := self.gather(operand)):
                return why
        self.nodes.append(node)
        return ""

    def _reduction(self, node: Node) -> str:
        before, axes = dims(input_at(node, 0)), integers(input_at(node, 1))
        if attribute(node, "keepdims", 1) or before is None or not axes:
            return "the axes of a reduction are not constant, or are kept already"
        reduced = sorted(axis % len(before) for axis in axes)
        if tuple(1 if axis in reduced else size for axis, size in enumerate(before)) != self.shape:
            return f"the axes {reduced} of a reduction are not those that come back"
        if self.axes and self.axes != reduced:
            return "its reductions are over different axes"
        self.axes = reduced
        self.nodes.append(node)
        return ""


def _is_number(value: Value) -> bool:
    array = constant(value)
    return array is not None and array.size == 1 and array.ndim <= 1


def _give_back(item: Node, tree: _Tree, edit: Editor) -> None:
    """Let what still reads an op read the op that keeps the axes, squeezed."""
    old = item.outputs[0]
    if item.graph is None:
        return
    if old.uses() or old.is_graph_output():
        axes = edit.constant(np.array(tree.axes, np.int64), near=item)
        edit.replace(old, edit.emit("Squeeze", [tree.kept[old], axes], before=item))
    edit.erase_unread(item)
