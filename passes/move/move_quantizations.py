"""Data is moved as integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import DataType, attribute, attribute_list, element_type, input_at, is_op, only_user, static_shape
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target

MOVES = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Expand", "Gather")
"""Ops whose output holds elements of their first input and nothing else."""

WIDE = (DataType.INT8, DataType.UINT8, DataType.INT16, DataType.UINT16)
"""Integer types that runtimes move; narrower ones are packed."""


@dataclass(frozen=True)
class MoveQuantizations(NodePass):
    """QuantizeLinear goes ahead of ops that only move data, and DequantizeLinear behind them.

    y = QuantizeLinear(Transpose(x)) -> y = Transpose(QuantizeLinear(x))
    y = Transpose(DequantizeLinear(q)) -> y = DequantizeLinear(Transpose(q))

    Integers are a quarter of the bytes, and a pair that meets takes itself back. For models that come with
    QuantizeLinear and DequantizeLinear in them, on request: some compilers want the pair around every op.

    Left alone: values that are read elsewhere too; scales by channel, unless a Transpose moves their axis; blocks;
    types narrower than a byte.
    """

    name: ClassVar[str] = "move-quantizations"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    op_types: ClassVar[tuple[str, ...]] = ("QuantizeLinear", "DequantizeLinear")
    repeat: ClassVar[bool] = True

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Look ahead of a QuantizeLinear, or behind a DequantizeLinear."""
        del target
        quantizes = node.op_type == "QuantizeLinear"
        between = node.inputs[0] if quantizes else node.outputs[0]
        mover = None if between is None else between.producer() if quantizes else only_user(between)
        if between is None or mover is None or not is_op(mover, *MOVES) or mover.graph is not node.graph:
            return None
        if not quantizes and (mover.inputs[0] is not between or between in mover.inputs[1:]):
            return None
        first, second = (mover, node) if quantizes else (node, mover)
        if only_user(between) is not second:
            return Declined(f"{between.name} is read elsewhere too")
        if element_type(node.outputs[0] if quantizes else node.inputs[0]) not in WIDE:
            return Declined("its integers are narrower than a byte, or of a type that is not known")
        axis = _axis_across(mover, node)
        if isinstance(axis, Declined):
            return axis
        _swap(first, second, mover, node, axis, edit)
        return Changed(f"moved {'ahead of' if quantizes else 'behind'} {mover.op_type}")


def _axis_across(mover: Node, node: Node) -> int | Declined | None:
    """Return the axis of a scale by channel on the other side of `mover`, None for one scale."""
    if attribute(node, "block_size", 0):
        return Declined("it is quantized in blocks")
    scale = static_shape(input_at(node, 1))
    if scale is None or len(scale) > 1:
        return Declined("the shape of its scale is not known, or not one axis")
    if scale in ((), (1,)):
        return None
    depth = len(static_shape(node.inputs[0]) or ())
    if mover.op_type != "Transpose" or not depth:
        return Declined(f"{mover.op_type} may move the axis of its scales")
    order = attribute_list(mover, "perm", range(depth)[::-1])
    axis = attribute(node, "axis", 1) % depth
    return order[axis] if node.op_type == "QuantizeLinear" else order.index(axis)


def _swap(first: Node, second: Node, mover: Node, node: Node, axis: int | None, edit: Editor) -> None:
    """Emit `second` and then `first`, behind what `first` reads."""
    value = first.inputs[0]
    for old in (second, first):
        moved = {"axis": axis} if old is node and axis is not None else {}
        attributes = {**old.attributes, **moved}
        inputs = [value, *old.inputs[1:]]
        value = edit.emit(old.op_type, inputs, attributes, before=second, name=old.name or "", domain=old.domain)
    edit.replace_node(second, value)
    edit.erase_unread(first)
