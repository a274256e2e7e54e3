"""Dead code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import Editor, graphs_of, label
from npuopt.graph.queries import subgraphs_of
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Graph, Model, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class DropUnusedNodes(Pass):
    """Nodes and initializers that no graph output depends on are dropped.

    a = Relu(x), y = Neg(x) -> y = Neg(x)      where nobody reads a

    Left alone: graph inputs that nobody reads, which callers still pass (the report notes them), with the default
    values they may have; nodes with at least one output in use, whole.
    """

    name: ClassVar[str] = "drop-unused-nodes"

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Drop from the last node to the first, so that one sweep is enough."""
        report = Report(self.name)
        edit = Editor(model)
        _drop_nodes(model.graph, edit, report)
        for graph in graphs_of(model):
            for name, value in list(graph.initializers.items()):
                if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
                    del graph.initializers[name]
                    report.changed.append(Entry(name, "initializer", "nobody reads it"))
        report.notes += [
            f"graph input {value.name!r} is read by nobody" for value in model.graph.inputs if not _is_read(value)
        ]
        return report


def _drop_nodes(graph: Graph, edit: Editor, report: Report) -> None:
    for node in reversed(graph):
        if not any(_is_read(output) for output in node.outputs):
            report.changed.append(Entry(label(node), node.op_type, "nobody reads it"))
            edit.erase(node)
            continue
        for subgraph in subgraphs_of(node):
            _drop_nodes(subgraph, edit, report)


def _is_read(value: Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()
