"""Emits a part of a graph once more, with its axes in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import constant, is_constant, label, producer, static_shape
from npuopt.passes.layout.borders import leaving
from npuopt.passes.layout.forms import data_inputs, form
from npuopt.passes.layout.orders import composed, inverse, is_identity, order_of
from npuopt.pipeline import Entry

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.passes.layout.orders import Order
    from npuopt.passes.layout.regions import Region
    from npuopt.target import Target


class Reordering:
    """Emits a region once more in another order, beside the old one, and then lets it take its place."""

    def __init__(self, region: Region, order: Order, edit: Editor) -> None:
        self._region = region
        self._order = order
        self._edit = edit
        self._made: dict[Value, Value] = {}
        self._emitted: list[Node] = []
        self._constants: list[Value] = []
        self._turns: dict[tuple[Value, Order], Value] = {}

    def emit(self, target: Target | None) -> Entry | None:
        """Emit the new nodes; when the target refuses one whose old form it takes, remove them and say so."""
        for node in self._region.nodes:
            new = self._emit(node)
            if target is not None and target.accepts(node) and not (verdict := target.accepts(new)):
                entry = Entry(label(node), node.op_type, f"{target.name} refuses the new order: {verdict.reasons[0]}")
                self._undo()
                return entry
        return None

    def replace(self) -> None:
        """Let everybody outside read what the new nodes make."""
        self._turns.clear()  # those of the new nodes may stand behind readers that are to be given theirs
        inside = set(self._region.nodes)
        makers = [producer(value, "Transpose") for value in self._region.read()]
        for node in self._region.nodes:
            for old in node.outputs:
                if old.name:
                    self._give(old, self._made[old], node, inside)
        for node in reversed(self._region.nodes):
            self._edit.erase_unread(node)
        for maker in makers:
            self._edit.erase_unread(maker)

    def _give(self, old: Value, new: Value, node: Node, inside: set[Node]) -> None:
        back = inverse(self._order)
        turns, others = leaving(old, inside)
        for reader, turn in turns.items():
            self._edit.replace(reader.outputs[0], self._turned(new, composed(back, turn), node))
            self._edit.erase_unread(reader)
        if others:
            self._edit.replace(old, self._turned(new, back, node))

    def _emit(self, node: Node) -> Node:
        made = form(node, self._order)
        if isinstance(made, str):
            raise TypeError(f"{label(node)} was found to have a form: {made}")
        inputs: list[Value | None] = list(node.inputs)
        for index in data_inputs(node):
            inputs[index] = self._ordered(node.inputs[index], node)
        for index, array in made.constants.items():
            inputs += [None] * (index + 1 - len(inputs))
            inputs[index] = self._constant(array, node)
        outputs = self._edit.emit_many(
            node.op_type,
            inputs,
            {**node.attributes, **made.attributes},
            before=node,
            outputs=len(node.outputs),
            name=node.name or "",
        )
        self._made.update(zip(node.outputs, outputs, strict=True))
        new = outputs[0].producer()
        if new is None:
            raise TypeError(f"{label(node)} was emitted without a node")
        self._emitted.append(new)
        return new

    def _ordered(self, value: Value | None, node: Node) -> Value | None:
        """Return an input of the region in the new order."""
        if value is None or value in self._made:
            return None if value is None else self._made[value]
        if is_constant(value):
            self._made[value] = self._ordered_constant(value, node)
        else:
            self._made[value] = self._turned(*self._source(value), node)
        return self._made[value]

    def _source(self, value: Value) -> tuple[Value, Order]:
        """Return what to transpose, and how, to have an input of the region in the new order."""
        turner = producer(value, "Transpose")
        source, turn = (turner.inputs[0], order_of(turner)) if turner is not None else (None, None)
        if source is None or turn is None:
            return value, self._order
        if source in self._made:  # the region made it, and made it anew
            return self._made[source], composed(composed(inverse(self._order), turn), self._order)
        return source, composed(turn, self._order)

    def _ordered_constant(self, value: Value, node: Node) -> Value:
        shape, array = static_shape(value), constant(value)
        if shape is None or array is None or (array.size == 1 and len(shape) < len(self._order)):
            return value
        aligned = array.reshape([1] * (len(self._order) - array.ndim) + list(array.shape))
        return self._constant(np.ascontiguousarray(aligned.transpose(self._order)), node)

    def _constant(self, array: np.ndarray, node: Node) -> Value:
        self._constants.append(self._edit.constant(array, near=node))
        return self._constants[-1]

    def _turned(self, value: Value, turn: Order, node: Node) -> Value:
        if is_identity(turn):
            return value
        if (value, turn) not in self._turns:
            turned = self._edit.emit("Transpose", [value], {"perm": turn}, before=node)
            maker = turned.producer()
            self._emitted += [maker] if maker is not None else []
            self._turns[value, turn] = turned
        return self._turns[value, turn]

    def _undo(self) -> None:
        for node in reversed(self._emitted):
            self._edit.erase(node)
        for value in self._constants:
            if value.graph is not None:
                del value.graph.initializers[value.name or ""]
