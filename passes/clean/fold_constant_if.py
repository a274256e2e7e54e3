"""Branches that are decided at compile time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import Editor, Graph, graphs_of, label, nodes, scalar
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.graph import Model, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class FoldConstantIf(Pass):
    """If with a condition that is known at compile time becomes the branch it takes.

    y = If<then {p = Relu(x)}, else {q = Neg(x)}>(true) -> y = Relu(x)

    Choices within the branch are folded in the same run. Names that other branches use too are made unique.

    Left alone: conditions computed at run time or that callers may override.
    """

    name: ClassVar[str] = "fold-constant-if"
    breaks: ClassVar[frozenset[str]] = frozenset({"shapes-known", "constants-folded"})
    op_types: ClassVar[tuple[str, ...]] = ("If",)

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Fold from the outermost choice inwards."""
        del target
        report = Report(self.name)
        choices = nodes(model, "If")
        if not choices:
            return report
        edit = Editor(model)
        names = Counter(name for graph in graphs_of(model) for name in _names(graph))
        for node in choices:
            condition = scalar(node.inputs[0])  # an If in a branch that is gone has lost its condition
            if condition is None or not isinstance(node.graph, Graph):
                continue
            taken, other = ("then_branch", "else_branch") if condition else ("else_branch", "then_branch")
            report.changed.append(Entry(label(node), node.op_type, f"its {taken} is always taken"))
            for gone in _with_subgraphs(node.attributes[other].as_graph()):
                names.subtract(_names(gone))
            _unfold(node.attributes[taken].as_graph(), node, node.graph, edit, names)
        return report


def _unfold(branch: Graph, node: Node, graph: Graph, edit: Editor, names: Counter[str]) -> None:
    """Move all that `branch` holds into `graph`, ahead of `node`, and let it stand for what `node` made."""
    outputs = list(branch.outputs)
    branch.outputs.clear()
    for name, value in list(branch.initializers.items()):
        del branch.initializers[name]
        value.name = _unique(name, edit, names)
        graph.register_initializer(value)
    inner = list(branch)
    branch.remove(inner)
    for moved in inner:
        moved.name = _unique(moved.name, edit, names)
        for output in moved.outputs:
            output.name = _unique(output.name, edit, names)
    graph.insert_before(node, inner)
    edit.replace_node(node, *outputs)


def _unique(name: str | None, edit: Editor, names: Counter[str]) -> str | None:
    if not name or names[name] == 1:
        return name
    names[name] -= 1
    return edit.fresh_name(name)


def _names(graph: Graph) -> Iterator[str]:
    """Yield the names of the graph's nodes and of the values that are its own."""
    values = (*graph.inputs, *(value for node in graph for value in node.outputs))
    owned = {value.name for value in values} | set(graph.initializers)
    yield from (name for name in owned if name)
    yield from (node.name for node in graph if node.name)


def _with_subgraphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    yield from graph.subgraphs()
