"""Inputs that hold nothing: a key/value cache of length 0, frozen for prefill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from npuopt.graph import Editor, element_type, input_at, is_op, static_shape, users
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class DropEmptyInputs(Pass):
    """Inputs that a freeze made empty are dropped, and Concat no longer joins what is empty.

    y = Concat<axis = 2>(past, new), past: float[1, 2, 0, 32] -> y = new

    Left alone: an input that is a graph output too. Readers other than Concat get an empty constant.
    """

    name: ClassVar[str] = "drop-empty-inputs"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    breaks: ClassVar[frozenset[str]] = frozenset({"constants-folded"})
    keeps_interface: ClassVar[bool] = False

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Drop the empty inputs; the report's notes list them, as callers must know."""
        del target
        report = Report(self.name)
        edit = Editor(model)
        for value in list(model.graph.inputs):
            shape = static_shape(value)
            if shape is None or 0 not in shape or value.is_initializer():
                continue
            if value.is_graph_output() or element_type(value) is None:
                report.declined.append(Entry(value.name or "", "input", "it is a graph output too"))
                continue
            for node in users(value):
                _stop_reading(node, value, edit)
            model.graph.inputs.remove(value)
            report.changed.append(Entry(value.name or "", "input", f"it is empty: {list(shape)}"))
            report.notes.append(f"dropped empty input {value.name} {list(shape)}")
        return report


def _stop_reading(node: Node, value: Value, edit: Editor) -> None:
    if not is_op(node, "Concat") or node.graph is None:
        _read_constant(node, value, edit)
        return
    rest = [item for item in node.inputs if item is not value and item is not None]
    if not rest:
        _read_constant(node, value, edit)
    elif len(rest) == 1 and not _is_output_of_input(rest[0], node):
        edit.replace_node(node, rest[0])
    else:
        joined = edit.emit("Concat", rest, {"axis": node.attributes["axis"].as_int()}, before=node)
        edit.replace_node(node, joined)


def _is_output_of_input(value: Value, node: Node) -> bool:
    """Say whether dropping `node` would need a copy of `value`, which the editor then makes."""
    return node.outputs[0].is_graph_output() and value.producer() is None


def _read_constant(node: Node, value: Value, edit: Editor) -> None:
    kind = element_type(value)
    if kind is None:
        return
    empty = edit.constant(np.zeros(static_shape(value) or (0,), kind.numpy()), near=node, name=f"{value.name}/empty")
    for index in range(len(node.inputs)):
        if input_at(node, index) is value:
            node.replace_input_with(index, empty)
