"""One run over a graph whose nodes come to compute in a float type of 16 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from npuopt.graph import (
    DataType,
    Editor,
    TensorType,
    constant,
    element_type,
    is_constant,
    is_op,
    release_mapped,
    subgraphs_of,
)
from npuopt.passes.quantize.half_precision_casts import HalfPrecisionCasts, is_between_casts, maker_of
from npuopt.pipeline import Entry, Report
from npuopt.quantization.half_precision.support import wanted_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.half_precision.formats import HalfFormat
    from npuopt.quantization.half_precision.support import Places

STORED_ONCE = 1024
"""Elements from which on a constant is stored once, for readers in float32 too, which read it through a Cast."""


class HalfPrecisionWriting:
    """One run of the pass over one model."""

    def __init__(self, model: Model, form: HalfFormat, islands: Mapping[str, str], report: Report) -> None:
        self._model = model
        self._form = form
        self._report = report
        self._edit = Editor(model)
        self._first = next(iter(model.graph), None)
        self._casts = HalfPrecisionCasts(self._edit, form, self._first)
        self._places: dict[Node, Places] = {}
        for node, places in wanted_nodes(model, form).items():
            why = islands.get(node.outputs[0].name or "")
            if why is not None:
                self._decline(node, why)
            elif not is_between_casts(node, places, form):
                self._places[node] = places
        for node in model.graph:
            if any(subgraphs_of(node)):
                self._decline(node, "its branches compute in float32: nothing is known of what happens in them")

    def write(self, *, between_casts: bool) -> None:
        """Let all nodes that may compute in the type."""
        self._constants(between_casts=between_casts)
        if between_casts:
            rounded = {node.outputs[index] for node, places in self._places.items() for index in places.outputs}
            for node, places in self._places.items():
                self._round_inputs(node, places, rounded)
            for node, places in self._places.items():
                self._round_outputs(node, places)
        else:
            made = [(node, node.outputs[index]) for node, places in self._places.items() for index in places.outputs]
            for node, places in self._places.items():
                self._narrow_inputs(node, places, {value for _, value in made})
            for node, value in made:
                self._narrow_output(node, value)
        for node in self._places:
            self._report.changed.append(Entry(node.name or "", node.op_type, f"computes in {self._form.name}"))

    def _constants(self, *, between_casts: bool) -> None:
        """Store constants in the type where nodes read them so; small ones also as they are, where others do."""
        for name, value in list(self._model.graph.initializers.items()):
            uses = list(self._uses_of(value)) if is_constant(value) else []
            known = constant(value) if uses and element_type(value) == DataType.FLOAT else None
            if known is None:
                continue
            if self._form.clamps(known):
                limit = f"{float(abs(known).max()):.3g} became {self._form.largest:.5g}, the greatest there is"
                self._report.notes.append(f"constant {name}: {limit}")
            held = self._edit.constant(self._form.rounded(known), near=self._near, name=f"{name}/{self._form.name}")
            read = self._casts.up(held, before=self._near) if between_casts else held
            for node, index in uses:
                node.replace_input_with(index, read)
            if value.uses() and known.size >= STORED_ONCE and self._form.rounding_db(known) >= self._form.least_db:
                self._edit.replace(value, self._casts.up(held, before=self._near))
            release_mapped([value])
            if not value.uses() and not value.is_graph_output():
                del self._model.graph.initializers[name]
                held.name = name

    def _uses_of(self, value: Value) -> Iterator[tuple[Node, int]]:
        """Yield the uses of a value by nodes that read it in the type."""
        for use in value.uses():
            places = self._places.get(use.node)
            if places is not None and use.idx in places.inputs:
                yield use.node, use.idx

    def _narrow_inputs(self, node: Node, places: Places, made: set[Value]) -> None:
        """Let a node read its float32 inputs through Casts, but for those that will be made in the type."""
        for index in places.inputs:
            value = cast("Value", node.inputs[index])
            if value not in made and element_type(value) == DataType.FLOAT:
                node.replace_input_with(index, self._casts.down(value))

    def _narrow_output(self, node: Node, value: Value) -> None:
        """Make an output in the type; those that read float32 read it through a Cast, as the graph's caller does."""
        if is_op(node, "Cast"):
            self._edit.set_attribute(node, "to", int(self._form.data_type))
        narrow = list(self._uses_of(value))
        if value.is_graph_output() or len(narrow) < len(list(value.uses())):
            wide = self._edit.emit_after("Cast", [value], {"to": int(DataType.FLOAT)}, after=node)
            self._edit.replace(value, wide)
            cast("Node", wide.producer()).replace_input_with(0, value)
            for reader, index in narrow:
                reader.replace_input_with(index, value)
        value.type = TensorType(self._form.data_type)

    def _round_inputs(self, node: Node, places: Places, made: set[Value]) -> None:
        """Let a node read what nobody rounds behind its maker (graph inputs, what islands make) through two Casts."""
        for index in places.inputs:
            value = cast("Value", node.inputs[index])
            if value not in made and not self._casts.is_rounded(value):
                node.replace_input_with(index, self._casts.up(self._casts.down(value)))

    def _round_outputs(self, node: Node, places: Places) -> None:
        """Put two Casts behind each output, for all readers and the graph's caller."""
        for index in places.outputs:
            value = node.outputs[index]
            narrow = self._edit.emit_after("Cast", [value], {"to": int(self._form.data_type)}, after=node)
            wide = self._edit.emit_after("Cast", [narrow], {"to": int(DataType.FLOAT)}, after=maker_of(narrow))
            self._edit.replace(value, wide)
            maker_of(narrow).replace_input_with(0, value)

    @property
    def _near(self) -> Node:
        """The node ahead of which things go that need be there from the start."""
        return cast("Node", self._first)

    def _decline(self, node: Node, why: str) -> None:
        self._report.declined.append(Entry(node.name or "", node.op_type, why))
