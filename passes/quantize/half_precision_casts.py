"""Casts between float32 and a float type of 16 bits: one for each value and direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from npuopt.graph import DataType, element_type, is_op, producer, users

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.quantization.half_precision.formats import HalfFormat
    from npuopt.quantization.half_precision.support import Places


class HalfPrecisionCasts:
    """Brings values of one graph into the type and back.

    Args:
        edit: writes into the graph.
        form: the type.
        first: the graph's first node, ahead of which its inputs are cast; None where it has none.
    """

    def __init__(self, edit: Editor, form: HalfFormat, first: Node | None) -> None:
        self._edit = edit
        self._first = first
        self._form = form
        self._narrow: dict[Value, Value] = {}
        self._wide: dict[Value, Value] = {}

    def down(self, value: Value) -> Value:
        """Return a value in the type; of what was cast up from it, the source."""
        source = self._source(value)
        if source is not None:
            return source
        if value not in self._narrow:
            self._narrow[value] = self._cast(value, self._form.data_type)
        return self._narrow[value]

    def up(self, value: Value, *, before: Node | None = None) -> Value:
        """Return a value of the type as float32."""
        if value not in self._wide:
            self._wide[value] = self._cast(value, DataType.FLOAT, before=before)
        return self._wide[value]

    def is_rounded(self, value: Value) -> bool:
        """Say whether a value was cast up from the type."""
        return self._source(value) is not None

    def _source(self, value: Value) -> Value | None:
        """Return what a value was cast up from."""
        source = producer(value, "Cast")
        if source is None or element_type(source.inputs[0]) != self._form.data_type:
            return None
        return source.inputs[0]

    def _cast(self, value: Value, kind: DataType, *, before: Node | None = None) -> Value:
        maker = value.producer()
        if maker is None or before is not None:
            near = before or cast("Node", self._first)
            return self._edit.emit("Cast", [value], {"to": int(kind)}, before=near, name=value.name or "")
        return self._edit.emit_after("Cast", [value], {"to": int(kind)}, after=maker)


def is_between_casts(node: Node, places: Places, form: HalfFormat) -> bool:
    """Say whether the node computes between Casts already: all that it makes is rounded at once."""
    outputs = [node.outputs[index] for index in places.outputs]
    inputs = [node.inputs[index] for index in places.inputs]
    sources = [producer(value, "Cast") for value in inputs]
    if any(source is None or element_type(source.inputs[0]) != form.data_type for source in sources):
        return False
    readers = [reader for value in outputs for reader in users(value)]
    if any(value.is_graph_output() for value in outputs):
        return False
    return all(is_op(reader, "Cast") and element_type(reader.outputs[0]) == form.data_type for reader in readers)


def maker_of(value: Value) -> Node:
    """Return the node that makes what was just made."""
    maker = value.producer()
    assert maker is not None, "it was just made"  # noqa: S101 -- for the type alone
    return maker
