"""Positions that a graph counts from the lengths of its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import onnx_ir as ir

from npuopt.graph import Builder, DataType, Editor, rank
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.decoder import PositionTable
    from npuopt.graph import Model, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class InsertPositionInputs(Pass):
    """What depends on positions alone is looked up by positions that are given at run time.

    `RotaryEmbedding(x, cos, sin)`, cos and sin computed for places past, past + 1, ... -> `RotaryEmbedding(x,
    Gather(cosines, position_ids), Gather(sines, position_ids))`, with a row for each position of the context.

    A graph whose cache is of a fixed size can no longer tell positions by the cache's length. Inputs that only
    computed positions are dropped; the batch becomes 1.

    Left alone: everything that no table is given for.

    Attributes:
        tables: values to be looked up, as a recognised decoder has them.
        new: how many tokens a run has.
        input: what the input for positions is called.
    """

    name: ClassVar[str] = "insert-position-inputs"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    breaks: ClassVar[frozenset[str]] = frozenset({"shapes-known", "constants-folded"})
    keeps_interface: ClassVar[bool] = False

    tables: tuple[Any, ...] = ()
    new: int = 1
    input: str = "position_ids"

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Replace each value by a lookup."""
        del target
        report = Report(self.name)
        made = {value.name: value for node in model.graph for value in node.outputs}
        given = {value.name: value for value in model.graph.inputs}
        edit = Editor(model)
        positions: Value | None = None
        for table in cast("tuple[PositionTable, ...]", self.tables):
            value = made.get(table.value, given.get(table.value))
            if value is None:
                report.declined.append(Entry(table.value, "value", "the graph has no such value"))
                continue
            positions = positions or _new_input(model, edit.fresh_name(self.input), self.new)
            edit.replace(value, _looked_up(table, value, positions, edit))
            report.changed.append(Entry(table.value, "value", f"looked up in {len(table.rows)} rows"))
            edit.erase_unread(value.producer())
        if positions is not None:
            report.notes.append(f"new input {positions.name}: the position of each token")
        for value in [value for value in model.graph.inputs if not value.uses() and not value.is_graph_output()]:
            model.graph.inputs.remove(value)
            report.notes.append(f"dropped input {value.name}, which nothing reads now")
        if positions is not None and self.input not in {value.name for value in model.graph.inputs}:
            positions.name = self.input  # the model's own input of that name has gone
        return report


def _new_input(model: Model, name: str, new: int) -> Value:
    value = ir.Value(name=name, shape=ir.Shape([1, new]), type=ir.TensorType(DataType.INT64))
    model.graph.inputs.append(value)
    return value


def _looked_up(table: PositionTable, value: Value, positions: Value, edit: Editor) -> Value:
    """Return the rows of the positions, as `value` had them."""
    build = Builder(edit, edit.model.graph[0])
    rows = table.rows
    if rows.dtype == np.int64 and np.array_equal(rows.reshape(len(rows), -1).T, np.arange(len(rows))[None]):
        shape = [1] * (rank(value) or 1)
        shape[table.axis] = -1
        return build("Reshape", positions, build.integers(*shape))
    whole = edit.constant(
        np.ascontiguousarray(np.moveaxis(rows, 0, table.axis)), near=build.node, name=f"{table.value}/rows"
    )
    return build("Gather", whole, build("Reshape", positions, build.integers(-1)), axis=table.axis)
