"""Multiply-accumulate operations of a node, from its shapes alone.

| op | MACs |
|---|---|
| Conv | output elements x input channels / group x kernel elements |
| ConvTranspose | input elements x output channels / group x kernel elements |
| Gemm, MatMul, MatMulNBits | output elements x inner dimension |
| Attention | batch x heads x queries x keys x (key head size + value head size) |
| LSTM, GRU, RNN | directions x sequence x batch x gates x hidden x (input + hidden), gates 4, 3, 1 |
| Einsum | product of the sizes of all letters |

Every other op counts nothing: element-wise work is bound by memory, not by multipliers.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, static_shape

if TYPE_CHECKING:
    from npuopt.graph import Node

Shape = tuple[int, ...]


def macs(node: Node) -> int:
    """Count the node's multiply-accumulates; 0 for ops that have none and where a shape is not static."""
    count = _COUNTS.get((node.domain.removeprefix("ai.onnx"), node.op_type))
    if count is None:
        return 0
    try:
        return count(node)
    except (_UnknownError, IndexError):
        return 0


class _UnknownError(Exception):
    """A shape is not static."""


def _input(node: Node, index: int) -> Shape:
    shape = static_shape(input_at(node, index))
    if shape is None:
        raise _UnknownError
    return shape


def _output(node: Node, index: int = 0) -> Shape:
    shape = static_shape(node.outputs[index])
    if shape is None:
        raise _UnknownError
    return shape


def _conv(node: Node) -> int:
    weight = _input(node, 1)  # [output channels, input channels / group, *kernel]
    return prod(_output(node)) * prod(weight[1:])


def _conv_transpose(node: Node) -> int:
    weight = _input(node, 1)  # [input channels, output channels / group, *kernel]
    return prod(_input(node, 0)) * prod(weight[1:])


def _gemm(node: Node) -> int:
    a = _input(node, 0)
    return prod(_output(node)) * a[0 if attribute(node, "transA", 0) else 1]


def _matmul(node: Node) -> int:
    return prod(_output(node)) * _input(node, 0)[-1]


def _attention(node: Node) -> int:
    query, key, value = (_input(node, index) for index in range(3))
    past = _input(node, 4)[2] if input_at(node, 4) is not None else 0
    if len(query) == 4:  # [batch, heads, sequence, head size]
        batch, heads, queries, size = query
        return batch * heads * queries * (key[2] + past) * (size + value[3])
    # [batch, sequence, heads * head size]
    heads, key_heads = attribute(node, "q_num_heads", 1), attribute(node, "kv_num_heads", 1)
    size, value_size = query[2] // heads, value[2] // key_heads
    return query[0] * heads * query[1] * (key[1] + past) * (size + value_size)


def _recurrent(gates: int) -> Callable[[Node], int]:
    def count(node: Node) -> int:
        x = _input(node, 0)  # [sequence, batch, input], or [batch, sequence, input]
        directions, _, hidden = _input(node, 2)
        return directions * x[0] * x[1] * gates * hidden * (x[2] + hidden)

    return count


def _einsum(node: Node) -> int:
    terms = attribute(node, "equation", "").replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for index, term in enumerate(terms):
        if "." in term:
            raise _UnknownError
        sizes.update(zip(term, _input(node, index), strict=False))
    return prod(sizes.values()) if len(terms) > 1 else 0


_COUNTS: dict[tuple[str, str], Callable[[Node], int]] = {
    ("", "Conv"): _conv,
    ("", "ConvTranspose"): _conv_transpose,
    ("", "Gemm"): _gemm,
    ("", "MatMul"): _matmul,
    ("", "Attention"): _attention,
    ("", "LSTM"): _recurrent(4),
    ("", "GRU"): _recurrent(3),
    ("", "RNN"): _recurrent(1),
    ("", "Einsum"): _einsum,
    ("com.microsoft", "MatMulNBits"): _matmul,
}
