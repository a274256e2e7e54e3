"""From a DequantizeLinear back to the QuantizeLinear that it belongs to, and on to what is fused with its reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import (
    is_op,
    only_user,
)
from npuopt.quantization.node_encoding import encoding_at
from npuopt.target.views import QDQ_DOMAINS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.graph import Node, Value
    from npuopt.quantization.encodings import Encoding

MOVES = ("Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
"""Ops of one data input that choose among its numbers, so that they do the same to floats."""
FOLLOWED = 8
"""Nodes behind a reader that it may be fused with, as far as each is the only reader of the one before."""


def is_quantization(node: Node, op_type: str) -> bool:
    """Say whether the node is a QuantizeLinear or DequantizeLinear, ONNX Runtime's own included."""
    return node.op_type == op_type and node.domain in QDQ_DOMAINS


def quantizer_of(integers: Value, encoding: Encoding) -> Node | str:
    """Return the QuantizeLinear that made the integers, or why they are no float tensor's."""
    maker = integers.producer()
    while maker is not None and encoding.axis is None and _moves(maker):
        maker = None if maker.inputs[0] is None else maker.inputs[0].producer()
    if maker is None or not is_quantization(maker, "QuantizeLinear"):
        return "its integers are an input, or made by another op than QuantizeLinear"
    if encoding_at(maker) != encoding:
        return "its parameters are others than those of the QuantizeLinear"
    return maker


def _moves(node: Node) -> bool:
    return is_op(node, *MOVES) and not any(output.uses() for output in node.outputs[1:])


def followed(reader: Node) -> Iterator[str]:
    """Yield the outputs of a reader and of what follows it alone."""
    node: Node | None = reader
    for _ in range(FOLLOWED):
        if node is None or not node.outputs:
            return
        yield node.outputs[0].name or ""
        node = only_user(node.outputs[0])
