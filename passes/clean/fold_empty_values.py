"""Tensors without elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from npuopt.graph import DataType, Editor, TensorType, is_constant, is_op, label, nodes, rank, static_shape
from npuopt.graph.queries import subgraphs_of
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class FoldEmptyValues(Pass):
    """Values without elements become empty constants, and Concat no longer joins them.

    y = Concat<axis = 1>(Transpose(past), x), past: float[1, 0, 4] -> y = Concat<axis = 1>(x)

    There is nothing to compute in a tensor with a dim of 0, whatever it is computed from.

    Left alone: sequences and text; what control flow makes; the Identity that makes a graph output of a constant.
    """

    name: ClassVar[str] = "fold-empty-values"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Sweep once, in graph order."""
        del target
        report = Report(self.name)
        edit = Editor(model)
        emptied: list[Node] = []
        constants: list[Value] = []
        for node in nodes(model):
            empty = [value for value in node.outputs if _may_be_empty(value) and _is_foldable(value, node)]
            if not empty and node.op_type != "Concat":
                continue
            entry_label = label(node)
            for value in empty:
                constants.append(_empty_like(value, node, edit))
                edit.replace(value, constants[-1])
                report.changed.append(Entry(entry_label, node.op_type, f"makes an empty tensor {value.shape}"))
            if empty:
                emptied.append(node)
            elif is_op(node, "Concat") and (dropped := _drop_empty_operands(node, edit)):
                report.changed.append(Entry(entry_label, node.op_type, f"{dropped} of its operands are empty"))
        for node in reversed(emptied):
            edit.erase_unread(node)
        for value in constants:
            if value.graph is not None and not value.uses():
                del value.graph.initializers[value.name or ""]
        return report


def _empty_like(value: Value, node: Node, edit: Editor) -> Value:
    kind = value.dtype or DataType.FLOAT
    return edit.constant(np.zeros(static_shape(value) or (), kind.numpy()), near=node, name=value.name or "")


def _may_be_empty(value: Value) -> bool:
    return value.shape is not None and any(isinstance(dim, int) and dim == 0 for dim in value.shape.dims)


def _is_foldable(value: Value, node: Node) -> bool:
    if 0 not in (static_shape(value) or ()):
        return False
    if not isinstance(value.type, TensorType) or value.dtype == DataType.STRING or subgraphs_of(node):
        return False
    if value.is_graph_output():
        return not (is_op(node, "Identity") and is_constant(node.inputs[0]))
    return bool(value.uses())


def _drop_empty_operands(node: Node, edit: Editor) -> int:
    """Replace a Concat by one of the operands that hold something; return how many hold nothing."""
    count = rank(node.outputs[0])
    if count is None:
        return 0
    axis = node.attributes["axis"].as_int() % count
    full = [value for value in node.inputs if not _is_empty_along(value, axis)]
    dropped = len(node.inputs) - len(full)
    if not dropped or not full:
        return 0
    edit.replace_node(node, edit.emit("Concat", full, {"axis": axis}, before=node))
    return dropped


def _is_empty_along(value: Value | None, axis: int) -> bool:
    shape = static_shape(value)
    return shape is not None and shape[axis] == 0
