"""Compile-time arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import (
    DataType,
    Editor,
    TensorType,
    has_one_use,
    infer_node,
    is_constant,
    is_op,
    label,
    nodes,
    opset,
    static_shape,
)
from npuopt.graph.evaluation import evaluate
from npuopt.graph.queries import subgraphs_of
from npuopt.graph.randomness import is_random
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.target import Target

MEBIBYTE = 1 << 20
WORKING_BYTES = 256 * MEBIBYTE
"""The largest value computed on the way to a smaller one; larger ones only where the model may grow by as much."""

SIZED_BY_DATA = ("NonZero", "Unique", "Compress")
"""Ops whose result no inference can size, but which is no larger than a row of indexes for each element."""


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
            wave = _Wave(model, self.growth_mib * MEBIBYTE, failed)
            folded, failed_now = _fold(model, edit, wave)
            report.changed += folded
            failed.update(failed_now)
            if not folded and not failed_now:
                report.declined = wave.declined
                return report


class _Wave:
    """What can be folded now: the nodes to compute, in graph order, and the values to keep of them."""

    def __init__(self, model: Model, growth: float, failed: set[Node]) -> None:
        self.nodes: list[Node] = []
        self.declined: list[Entry] = []
        self._opset = opset(model)
        self._growth = growth
        self._failed = failed
        self._bytes: dict[Value, int] = {}
        self._freed: dict[Value, float] = {}
        for node in nodes(model):
            self._visit(node)
        self.wanted = self._choose()

    def _visit(self, node: Node) -> None:
        if not all(value is None or is_constant(value) or value in self._bytes for value in node.inputs):
            return
        if is_op(node, "Identity") and node.outputs[0].is_graph_output():
            return
        refusal = "neither ONNX Runtime nor the reference can run it" if node in self._failed else _refusal(node)
        sizes = [] if refusal else self._sizes(node)
        if sizes is None:
            refusal = "the size of its result is not known"
        elif sum(sizes) > max(WORKING_BYTES, self._growth):
            refusal = f"its result would have {sum(sizes) / MEBIBYTE:.1f} MiB"
        elif not refusal:
            self._take(node, sizes)
            return
        self.declined.append(Entry(label(node), node.op_type, refusal))

    def _sizes(self, node: Node) -> list[int] | None:
        """Return the bytes of each output, or None when one is not known."""
        if any(static_shape(output) is None for output in node.outputs):
            infer_node(node, self._opset)
        sizes = [_bytes_of(output) for output in node.outputs if output.name]
        if is_op(node, *SIZED_BY_DATA):
            shape = static_shape(node.inputs[0])
            bound = None if shape is None else 8 * max(len(shape), 1) * math.prod(shape)
            sizes = [bound for _ in sizes]
        known = [size for size in sizes if size is not None]
        return known if len(known) == len(sizes) else None

    def _take(self, node: Node, sizes: list[int]) -> None:
        self.nodes.append(node)
        outputs = [output for output in node.outputs if output.name]
        freed = sum(self._freed_by(value) for value in node.inputs if value is not None)
        if is_op(node, "Constant"):
            freed = float(sum(sizes))  # the value is in the node now
        for output, size in zip(outputs, sizes, strict=True):
            self._bytes[output] = size
            self._freed[output] = freed / len(outputs)

    def _freed_by(self, value: Value) -> float:
        """Return how many bytes of constants nobody needs once the one reader of `value` is gone."""
        if not has_one_use(value):
            return 0
        return self._freed[value] if value in self._freed else float(_bytes_of(value) or 0)

    def _choose(self) -> list[Value]:
        """Choose what to replace: what is read by nodes that stay, as far as it is not too large.

        A value that is too large leaves its node in the graph, so that what this node reads is wanted in turn.
        """
        computed = set(self.nodes)
        chosen: dict[Value, None] = {}
        seen: set[Value] = set()
        pending = [value for value in self._bytes if value.is_graph_output() or _readers(value) - computed]
        while pending:
            value = pending.pop()
            if value in seen:
                continue
            seen.add(value)
            growth = self._bytes[value] - self._freed[value]
            node = value.producer()
            if growth <= self._growth or node is None:
                chosen[value] = None
                continue
            text = f"its result would add {growth / MEBIBYTE:.1f} MiB to the model"
            self.declined.append(Entry(label(node), node.op_type, text))
            pending += [source for source in node.inputs if source in self._bytes]
        return list(chosen)


def _fold(model: Model, edit: Editor, wave: _Wave) -> tuple[list[Entry], list[Node]]:
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


def _refusal(node: Node) -> str:
    """Say why a node whose inputs are all known is not to be folded, or return an empty string."""
    if is_random(node):
        return "it is random"
    if subgraphs_of(node):
        return "it is control flow"
    if node.op_type == "DequantizeLinear":  # of whichever domain: ONNX Runtime has one of its own
        return "it would undo the quantization of its input"
    if not all(isinstance(output.type, TensorType) or not output.name for output in node.outputs):
        return "its result is no tensor"
    if any(value is not None and value.dtype == DataType.STRING for value in (*node.inputs, *node.outputs)):
        return "it is about text"
    return ""


def _readers(value: Value) -> set[Node]:
    return {use.node for use in value.uses()}


def _bytes_of(value: Value) -> int | None:
    shape = static_shape(value)
    if shape is None or value.dtype is None:
        return None
    return math.ceil(math.prod(shape) * value.dtype.bitwidth / 8)
