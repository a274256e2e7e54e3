"""Residual streams: tensors that layers read through an RMSNormalization and add to, and whose basis is nobody's.

`RMS(x Q) = RMS(x) Q` for an orthogonal Q, so the whole stream may be rotated when all that makes it multiplies by Q and
all that reads it by its transpose. Found by structure: from a normalization's input to everything that shares it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

from npuopt.graph import attribute, attribute_list, input_at, integers, is_constant, is_op, label, rank, static_shape
from npuopt.target.channels import channel_axis

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value

CARRYING = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Ops that only lay numbers out anew; they carry a stream where the last axis stays."""


@dataclass(frozen=True)
class Reader:
    """A product with constant weights that reads the stream.

    Attributes:
        node: MatMul or Gemm.
        weight: the constant.
        by_row: whether the stream's channels are the weight's rows; else its columns (transposed, as tied tables are).
        norm: the RMSNormalization in between, if any.
    """

    node: Node
    weight: Value
    by_row: bool
    norm: Node | None


@dataclass
class Stream:
    """All that has part in one residual stream.

    Attributes:
        size: how many channels it has.
        name: of the first tensor that a normalization reads.
        values: the tensors that hold it.
        tables: lookups whose constant tables make it.
        makers: products with constant weights that make parts of it.
        shifts: additions of constants to it, with the constant's index.
        norms: normalizations that read it.
        readers: what reads it.
        sums: how many additions of two of its tensors there are.
        why: why it cannot be rotated; empty when it can.
    """

    size: int
    name: str
    values: set[Value] = field(default_factory=set["Value"])
    tables: list[Node] = field(default_factory=list["Node"])
    makers: list[Node] = field(default_factory=list["Node"])
    shifts: list[tuple[Node, int]] = field(default_factory=list[tuple["Node", int]])
    norms: list[Node] = field(default_factory=list["Node"])
    readers: list[Reader] = field(default_factory=list[Reader])
    sums: int = 0
    why: str = ""


def residual_streams(model: Model) -> list[Stream]:
    """List the residual streams of the main graph, with those that cannot be rotated, in graph order.

    A tensor that nothing is added to is none.
    """
    found: list[Stream] = []
    seen: set[Value] = set()
    for node in model.graph:
        start = input_at(node, 0)
        shape = static_shape(start)
        if start is None or start in seen or not shape or not _is_norm(node):
            continue
        stream = Stream(shape[-1], start.name or "")
        _Walk(stream, model).follow(start)
        stream.why = stream.why or _shared_weight(stream)
        seen |= stream.values
        if stream.sums:
            found.append(stream)
    return found


def tied(stream: Stream, reader: Reader) -> bool:
    """Say whether a reader's weights are a table that also makes the stream."""
    return any(input_at(table, 0) is reader.weight for table in stream.tables)


def _shared_weight(stream: Stream) -> str:
    """Say which weight cannot change because others read it; a table may be the head's weight too."""
    tables = {_some(node.inputs[0]): node for node in stream.tables}
    wanted = [(_some(node.inputs[0]), node) for node in stream.tables]
    wanted += [(_some(node.inputs[1]), node) for node in stream.makers]
    wanted += [(reader.weight, reader.node) for reader in stream.readers]
    by_weight: dict[Value, set[Node]] = {}
    for value, node in wanted:
        by_weight.setdefault(value, set()).add(node)
    for value, users in by_weight.items():
        heads = {reader.node for reader in stream.readers if reader.weight is value and not reader.by_row}
        is_tie = value in tables and users == {tables[value], *heads}
        if len(value.uses()) != len(users) or (len(users) > 1 and not is_tie):
            return f"{value.name} is read elsewhere too"
    return ""


def _is_norm(node: Node) -> bool:
    """Say whether it is an RMSNormalization over the last axis with a constant scale."""
    size = rank(input_at(node, 0))
    return (
        is_op(node, "RMSNormalization")
        and attribute(node, "axis", -1) in (-1, None if size is None else size - 1)
        and is_constant(input_at(node, 1))
        and rank(input_at(node, 1)) == 1
    )


class _Walk:
    """Follows a stream to all that makes it and all that reads it."""

    def __init__(self, stream: Stream, model: Model) -> None:
        self._stream = stream
        self._graph = model.graph
        self._pending: list[Value] = []

    def follow(self, start: Value) -> None:
        """Walk until nothing new is found; the first thing in the way is the stream's reason."""
        self._pending.append(start)
        while self._pending:
            value = self._pending.pop()
            if value in self._stream.values:
                continue
            self._stream.values.add(value)
            if value.is_graph_output():
                self._stop(f"{value.name} is a graph output")
            self._made(value)
            for use in value.uses():
                self._read(use.node, use.idx, value)

    def _stop(self, why: str) -> None:
        self._stream.why = self._stream.why or why

    def _spans(self, value: Value | None) -> bool:
        """Say whether the tensor's last axis holds the stream's channels."""
        shape = static_shape(value)
        return bool(shape) and shape[-1] == self._stream.size

    def _made(self, value: Value) -> None:
        node = value.producer()
        source = None if node is None else input_at(node, 0)
        if node is None or source is None:
            self._stop(f"{value.name} is given from outside")
        elif is_op(node, "Add"):
            self._summed(node)
        elif is_op(node, "Gather") and is_constant(source) and attribute(node, "axis", 0) == 0 and rank(source) == 2:
            self._stream.tables.append(node)
        elif _multiplies(node, 0):
            bias = input_at(node, 2)
            if bias is None or (is_constant(bias) and self._spans(bias)):
                self._stream.makers.append(node)
            else:
                self._stop(f"the bias of {label(node)} is not one number for each channel")
        elif (index := _carried(node)) is not None and self._spans(node.inputs[index]):
            self._pending.append(_some(node.inputs[index]))
        else:
            self._stop(f"{label(node)} ({node.op_type}) makes part of it")

    def _summed(self, node: Node) -> None:
        """Take both terms into the stream, or the one, and the constant that is added to it."""
        constants = [index for index, value in enumerate(node.inputs) if is_constant(value)]
        if not all(self._spans(value) for value in node.inputs):
            self._stop(f"{label(node)} (Add) adds one number to several channels")
        elif constants:
            self._stream.shifts.append((node, constants[0]))
        else:
            self._stream.sums += 1
        self._pending += [_some(value) for index, value in enumerate(node.inputs) if index not in constants]

    def _read(self, node: Node, index: int, value: Value) -> None:
        if node.graph is not self._graph:
            self._stop(f"{label(node)} reads it in a subgraph")
        elif is_op(node, "Add"):
            self._pending.append(node.outputs[0])
        elif index == 0 and _is_norm(node) and len(node.outputs) == 1:
            self._stream.norms.append(node)
            self._normalized(node, node.outputs[0])
        elif _carried(node) == index and self._spans(node.outputs[0]):
            self._pending.append(node.outputs[0])
        elif not self._multiplied(node, index, None):
            self._stop(f"{label(node)} ({node.op_type}) reads {value.name} channel by channel")

    def _normalized(self, norm: Node, value: Value) -> None:
        """Follow what a normalization makes to the products that its scale and the rotation fold into."""
        if value.is_graph_output():
            self._stop(f"{value.name} is a graph output")
        for use in value.uses():
            node = use.node
            if node.graph is self._graph and _carried(node) == use.idx and self._spans(node.outputs[0]):
                self._normalized(norm, node.outputs[0])
            elif node.graph is not self._graph or not self._multiplied(node, use.idx, norm):
                self._stop(f"{label(node)} ({node.op_type}) reads {value.name}, and has no weights to fold into")

    def _multiplied(self, node: Node, index: int, norm: Node | None) -> bool:
        """Note a product with constant weights; say whether it is one."""
        if index != 0 or not _multiplies(node, index):
            weight = _turned(node) if index == 0 else None
            if weight is not None:
                self._stream.readers.append(Reader(node, weight, False, norm))
            return weight is not None
        by_row = not attribute(node, "transB", 0) if is_op(node, "Gemm") else True
        self._stream.readers.append(Reader(node, _some(node.inputs[1]), by_row, norm))
        return True


def _multiplies(node: Node, index: int) -> bool:
    """Say whether the node multiplies the last axis of what it reads at `index` by constant weights."""
    return (
        index == 0
        and is_op(node, "MatMul", "Gemm")
        and is_constant(input_at(node, 1))
        and not is_constant(input_at(node, 0))
        and channel_axis(node, 1) is not None
        and not attribute(node, "transA", 0)
    )


def _turned(node: Node) -> Value | None:
    """Return the constant whose transpose a MatMul reads as its weights, as exporters write a tied head."""
    weight = input_at(node, 1)
    maker = None if weight is None else weight.producer()
    if maker is None or not is_op(node, "MatMul") or not is_op(maker, "Transpose") or len(_some(weight).uses()) > 1:
        return None
    source = input_at(maker, 0)
    is_plain = rank(source) == 2 and attribute_list(maker, "perm", [1, 0]) == [1, 0] and is_constant(source)
    return source if is_plain else None


def _carried(node: Node) -> int | None:
    """Return the index of the input that the node only lays out anew, picks positions of, or scales as a whole."""
    source = input_at(node, 0)
    if source is not None and not is_constant(source):
        size = rank(source) or 0
        if is_op(node, *CARRYING):
            return 0
        if is_op(node, "Gather") and attribute(node, "axis", 0) not in (-1, size - 1):
            return 0
        axes = input_at(node, 3)
        if is_op(node, "Slice") and axes is not None and (picked := integers(axes)) is not None:
            return None if {-1, size - 1} & set(picked) else 0
    for index in (0, 1):
        other = input_at(node, 1 - index)
        if is_op(node, "Mul") and is_constant(other) and _count(other) == 1 and not is_constant(input_at(node, index)):
            return index
    return None


def _count(value: Value | None) -> int | None:
    shape = static_shape(value)
    return None if shape is None else prod(shape)


def _some(value: Value | None) -> Value:
    if value is None:
        raise ValueError("an input that must be there is left out")
    return value
