"""Token ids that the graph looks up itself, in a table that is most of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import onnx_ir as ir

from npuopt.graph import Editor, is_constant, is_op, label
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model
    from npuopt.target import Target

VECTORS = "token_vectors"
"""What the new input is called."""


@dataclass(frozen=True)
class SplitEmbedding(Pass):
    """The vectors of tokens become an input, which the caller looks up; the table leaves the graph.

    `Gather(table, tokens) -> readers` becomes `token_vectors -> readers`. A product that the table is tied to keeps it.

    Left alone: a lookup that is a graph output, or in a table that is none of the graph's constants, and one whose ids
    other nodes read too.

    Attributes:
        lookup: the looked-up vectors; nothing is done without it.
        input: what the new input is called.
    """

    name: ClassVar[str] = "split-embedding"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    keeps_interface: ClassVar[bool] = False

    lookup: str = ""
    input: str = VECTORS

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Take the lookup out."""
        del target
        report = Report(self.name)
        node = next((node for node in model.graph if any(item.name == self.lookup for item in node.outputs)), None)
        if not self.lookup or node is None:
            return report
        if why := _refusal(node):
            report.declined.append(Entry(label(node), node.op_type, why))
            return report
        (table, tokens), vectors = node.inputs, node.outputs[0]
        assert table is not None and tokens is not None  # noqa: PT018, S101 -- else it was refused
        edit = Editor(model)
        given = ir.Value(name=edit.fresh_name(self.input), shape=vectors.shape, type=vectors.type)
        model.graph.inputs.insert(model.graph.inputs.index(tokens), given)
        edit.replace(vectors, given)
        edit.erase(node)
        model.graph.inputs.remove(tokens)
        report.changed.append(Entry(label(node), node.op_type, f"vectors are given as {given.name}"))
        report.notes.append(f"new input {given.name} instead of {tokens.name}: rows of the table {table.name}")
        return report


def _refusal(node: ir.Node) -> str:
    """Return why a lookup stays in the graph, or an empty string."""
    table, tokens = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    if not is_op(node, "Gather") or table is None or not is_constant(table):
        return "no lookup in a constant table"
    if tokens is None or not tokens.is_graph_input() or len(tokens.uses()) > 1 or tokens.is_graph_output():
        return "its ids are no input that it alone reads"
    return "it is a graph output" if node.outputs[0].is_graph_output() else ""
