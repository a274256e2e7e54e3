"""What a decoder computes from an encoder's states alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import onnx_ir as ir

from npuopt.graph import Builder, DataType, Editor, element_type, is_op
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    import numpy as np

    from npuopt.graph import Model, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class InsertSourceInputs(Pass):
    """Values that depend on an encoder's states alone, and masks that hide its padding, become inputs.

    `Attention(q, MatMul(states, wk), MatMul(states, wv), Where(attention_mask, 0, low))` -> `Attention(q, cross_key_0,
    cross_value_0, source_mask)`. A mask that also adds a bias to what it shows becomes `source_mask + bias`.

    Keys and values of another sequence are the same for every token that reads them: they are computed once,
    elsewhere, and given.

    Left alone: everything that is not named.

    Attributes:
        values: name, name of the input in its place, and its shape.
        masks: name of a mask, and what it adds where it shows, or None.
        mask: what the input of masks is called.
        mask_shape: its shape; float, 0 where a key is seen.
    """

    name: ClassVar[str] = "insert-source-inputs"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    breaks: ClassVar[frozenset[str]] = frozenset({"constants-folded"})
    keeps_interface: ClassVar[bool] = False

    values: tuple[tuple[str, str, tuple[int, ...]], ...] = ()
    masks: tuple[tuple[str, Any], ...] = ()
    mask: str = "source_mask"
    mask_shape: tuple[int | str, ...] = ()

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Put the inputs in the values' places and drop what only made those."""
        del target
        report = Report(self.name)
        edit = Editor(model)
        made = {value.name: value for node in model.graph for value in node.outputs}
        for name, given, shape in self.values:
            value = made.get(name)
            if value is None:
                report.declined.append(Entry(name, "value", "the graph has no such value"))
                continue
            _replace(value, _input(model, edit.fresh_name(given), shape, element_type(value)), edit)
            report.changed.append(Entry(name, "value", f"is the input {given}"))
        given = None
        for name, bias in self.masks:
            value = made.get(name)
            if value is None or any(not is_op(use.node, "Attention") for use in value.uses()):
                why = "the graph has no such value" if value is None else "other nodes than attentions read it"
                report.declined.append(Entry(name, "mask", why))
                continue
            given = given or _input(model, edit.fresh_name(self.mask), self.mask_shape, DataType.FLOAT)
            _replace(value, _added(given, bias, value, Builder(edit, model.graph[0])), edit)
            report.changed.append(Entry(name, "mask", "is an input" if bias is None else "is an input and a bias"))
        for node in reversed(list(model.graph)):
            edit.erase_unread(node)
        for value in [value for value in model.graph.inputs if not value.uses() and not value.is_graph_output()]:
            if report.changed:
                model.graph.inputs.remove(value)
                report.notes.append(f"dropped input {value.name}, which nothing reads now")
        return report


def _input(model: Model, name: str, shape: tuple[int | str, ...], kind: DataType | None) -> Value:
    value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(kind or DataType.FLOAT))
    model.graph.inputs.append(value)
    return value


def _added(mask: Value, bias: np.ndarray | None, old: Value, build: Builder) -> Value:
    """Return the mask with what `old` adds beside it, in the element type of the scores."""
    reader = next(iter(old.uses())).node
    build.type = element_type(reader.inputs[0]) or DataType.FLOAT
    if build.type != DataType.FLOAT:
        mask = build("Cast", mask, to=build.type)
    return mask if bias is None else build("Add", mask, build.array(bias))


def _replace(old: Value, new: Value, edit: Editor) -> None:
    """Let all nodes that read `old` read `new`."""
    edit.replace(old, new)
    edit.erase_unread(old.producer())
