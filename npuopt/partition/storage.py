"""How a device holds the tensors of a graph: which of them are one buffer, and how many bytes it takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING

from npuopt.graph import input_at, is_constant, is_op, qualified_op_type, static_shape
from npuopt.target.views import converts, is_float

if TYPE_CHECKING:
    from collections.abc import Iterable

    from npuopt.graph import Node, Value
    from npuopt.target import Target

VIEWS = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Ops that name the same bytes anew."""
ELEMENT_WISE = frozenset(
    {
        *("Abs", "Add", "And", "Cast", "Ceil", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu"),
        *("HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg", "Not", "Or", "PRelu"),
        *("Pow", "Reciprocal", "Relu", "Round", "Sigmoid", "Sin", "Softplus", "Sqrt", "Sub", "Swish", "Tanh", "Where"),
    }
)
"""Ops that may write their result over an operand of the same size, once nobody else reads it."""


@dataclass(frozen=True)
class Buffer:
    """A run-time tensor as the device holds it.

    Attributes:
        name: of the first tensor that it holds.
        bytes: its size.
    """

    name: str
    bytes: int


class Storage:
    """Where the tensors of some nodes are held, in a scheme.

    QuantizeLinear, DequantizeLinear and ops that only rename bytes share the buffer of what they read. A float tensor
    of a graph without Q/DQ counts as the scheme's activation type, a weight as its weight type.
    """

    def __init__(self, nodes: Iterable[Node], target: Target, scheme: str) -> None:
        """Look at `nodes`, in an order in which they can run; their shapes should be static."""
        self._target = target
        self._scheme = target.scheme(scheme)
        self._root: dict[str, Value] = {}
        self._bits: dict[str, int] = {}
        for node in nodes:
            self._take(node)

    def computing(self, nodes: Iterable[Node]) -> list[Node]:
        """List the nodes that compute: all but conversions and views."""
        return [node for node in nodes if not (converts(node) or is_op(node, *VIEWS))]

    def buffer(self, value: Value) -> Buffer | None:
        """Return what holds a run-time tensor; None for constants and where the shape is not static."""
        root = self._root.get(value.name or "", value)
        if is_constant(root):
            return None
        size = _elements(root)
        return None if size is None else Buffer(root.name or "", ceil(size * self._bits_of(root) / 8))

    def sized(self, nodes: Iterable[Node]) -> bool:
        """Say whether the shape of every tensor of these nodes is static."""
        return all(static_shape(value) is not None for node in nodes for value in node.outputs if value.name)

    def weight_bytes(self, node: Node) -> int:
        """Sum up the constants that a node reads, as the device holds them."""
        return sum(self._constant_bytes(node, index) for index in range(len(node.inputs)))

    def _take(self, node: Node) -> None:
        source = input_at(node, 0)
        if source is None or not (converts(node) or is_op(node, *VIEWS)):
            return
        root = self._root.get(source.name or "", source)
        self._root[node.outputs[0].name or ""] = root
        if converts(node):  # the integers beside a float tensor are what is held
            held = source if is_float(node.outputs[0]) else node.outputs[0]
            if held.dtype is not None:
                self._bits[root.name or ""] = held.dtype.bitwidth

    def _bits_of(self, value: Value) -> int:
        known = self._bits.get(value.name or "")
        if known is not None:
            return known
        if is_float(value):
            return bits(self._scheme.activation)
        return 32 if value.dtype is None else value.dtype.bitwidth

    def _constant_bytes(self, node: Node, index: int) -> int:
        value = input_at(node, index)
        if value is None:
            return 0
        root = self._root.get(value.name or "", value)
        size = _elements(root) if is_constant(root) else None
        if size is None:
            return 0
        if root is value and is_float(value):
            return ceil(size * bits(self._held_as(node, index)) / 8)
        return ceil(size * (root.dtype.bitwidth if root.dtype is not None else 32) / 8)

    def _held_as(self, node: Node, index: int) -> str:
        """Return the element type of a float constant at one of its uses."""
        rule = self._target.rule(node.op_type, node.domain)
        wants = None if rule is None else rule.quantization
        if wants is not None and index in wants.weights:
            return self._scheme.weight or self._scheme.activation
        if wants is not None and index == wants.bias:
            return self._scheme.bias or "float32"
        return self._scheme.activation


def bits(type_name: str) -> int:
    """Return how many bits an element of this type takes, as descriptors name it.

    Example: `bits("uint16")` is 16, `bits("float8e4m3fn")` is 8; a truth value takes a byte.
    """
    found = re.search(r"\d+", type_name)
    return int(found.group()) if found else 8


def overwrites(node: Node, storage: Storage, last_use: Mapping[str, int], step: int) -> str | None:
    """Return the buffer over which an element-wise node may write its result at `step`, or None."""
    if node.domain or qualified_op_type(node) not in ELEMENT_WISE:
        return None
    made = storage.buffer(node.outputs[0])
    for value in node.inputs:
        held = None if value is None else storage.buffer(value)
        if held is not None and made is not None and held.bytes == made.bytes and last_use.get(held.name) == step:
            return held.name
    return None


def _elements(value: Value) -> int | None:
    shape = static_shape(value)
    return None if shape is None else prod(shape)
