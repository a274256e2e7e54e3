"""Which nodes can be computed at compile time, and which of their results are worth keeping."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from npuopt.graph import (
    DataType,
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
from npuopt.graph.queries import subgraphs_of
from npuopt.graph.randomness import is_random
from npuopt.pipeline import Entry

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value

MEBIBYTE = 1 << 20
WORKING_BYTES = 256 * MEBIBYTE
"""The largest value computed on the way to a smaller one; larger ones only where the model may grow by as much."""

SIZED_BY_DATA = ("NonZero", "Unique", "Compress")
"""Ops whose result no inference can size, but which is no larger than a row of indexes for each element."""


class Wave:
    """What can be folded now.

    Attributes:
        nodes: what to compute, in graph order.
        wanted: the values to keep of it.
        declined: what is left at run time although all its inputs are known, and why.
    """

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
