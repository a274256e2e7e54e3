"""Compile-time arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import (
    Editor,
    is_constant,
    label,
)
from npuopt.graph.evaluation import evaluate
from npuopt.passes.clean.constant_waves import MEBIBYTE, Wave
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Nodes whose inputs are all known at compile time become constants.

    y = Add(x, Transpose(w)) -> y = Add(x, c)      where w is an initializer

    Computed in ONNX Runtime (or the ONNX reference evaluator where that lacks a kernel), all nodes in one session.

    Left alone: random ops; control flow; sequences and text; DequantizeLinear, which would undo a weight's
    quantization; defaults of graph inputs, since callers may override them; a result that is larger by more than
    `growth_mib` than the constants that it makes superfluous (a weight read elsewhere too is not superfluous); what
    has no known size; the Identity that makes a graph output of a constant.

    Attributes:
        growth_mib: mebibytes that one folded value may add to the model.
    """

    name: ClassVar[str] = "fold-constants"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    gives: ClassVar[frozenset[str]] = frozenset({"constants-folded"})
    breaks: ClassVar[frozenset[str]] = frozenset({"shapes-known"})  # what a folded constant sizes is now known better

    growth_mib: float = 16.0

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Fold in waves: results with a size that depends on constants are sized once those are there."""
        del target
        report = Report(self.name)
        edit = Editor(model)
        failed: set[Node] = set()
        while True:
            wave = Wave(model, self.growth_mib * MEBIBYTE, failed)
            folded, failed_now = _fold(model, edit, wave)
            report.changed += folded
            failed.update(failed_now)
            if not folded and not failed_now:
                report.declined = wave.declined
                return report


def _fold(model: Model, edit: Editor, wave: Wave) -> tuple[list[Entry], list[Node]]:
    """Compute and replace, then erase what computed it and the constants that only it read.

    Returns:
        What was folded, and the nodes that cannot be run.
    """
    if not wave.wanted:
        return [], []
    arrays, failed = evaluate(wave.nodes, wave.wanted, model.opset_imports, model.ir_version)
    folded: list[Entry] = []
    sources = {value for node in wave.nodes for value in node.inputs if is_constant(value)}
    for value, array in arrays.items():
        node = value.producer()
        if node is None:
            continue
        folded.append(Entry(label(node), node.op_type, f"is {array.dtype.name} {list(array.shape)} at compile time"))
        edit.replace(value, edit.constant(array, near=node, name=value.name or ""))
    for node in reversed(wave.nodes):
        edit.erase_unread(node)
    for value in sources:
        graph = value.graph if value is not None else None
        if value is not None and graph is not None and not value.uses() and not value.is_graph_output():
            del graph.initializers[value.name or ""]
    return folded, failed
