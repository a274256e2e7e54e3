"""How rules see a node's tensors: through DequantizeLinear and QuantizeLinear, to what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from npuopt.graph import DataType, input_at, is_constant, producer
from npuopt.target.constraints import parse_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.graph import Node, Value

QUANTIZE = "QuantizeLinear"
DEQUANTIZE = "DequantizeLinear"
QDQ_DOMAINS = ("", "ai.onnx", "com.microsoft")

Form = Literal["plain", "quantized", "float"]

_TYPE_NAMES = {
    DataType.FLOAT: "float32",
    DataType.DOUBLE: "float64",
    DataType.FLOAT8E4M3FN: "float8e4m3fn",
    DataType.FLOAT8E5M2: "float8e5m2",
    DataType.FLOAT4E2M1: "float4e2m1",
}
_FLOATS = frozenset({DataType.FLOAT, DataType.FLOAT16, DataType.BFLOAT16, DataType.DOUBLE})


def type_name(value: Value) -> str | None:
    """Return a tensor's element type as descriptors write it, or None when it is unknown or no tensor."""
    kind = value.dtype
    return None if kind is None else _TYPE_NAMES.get(kind, kind.name.lower())


def is_float(value: Value) -> bool:
    """Say whether the tensor holds float data."""
    return value.dtype in _FLOATS


def converts(node: Node) -> bool:
    """Say whether the node is a QuantizeLinear or a DequantizeLinear."""
    return node.op_type in (QUANTIZE, DEQUANTIZE) and node.domain in QDQ_DOMAINS


def dequantizer(value: Value) -> Node | None:
    """Return the DequantizeLinear that makes `value`, or None."""
    node = value.producer()
    return node if node is not None and node.op_type == DEQUANTIZE and node.domain in QDQ_DOMAINS else None


def known_at_compile_time(value: Value | None) -> bool:
    """Say whether a value is a constant, or a constant through QuantizeLinear and DequantizeLinear."""
    while value is not None and not is_constant(value):
        node = producer(value, QUANTIZE, DEQUANTIZE) or dequantizer(value)
        if node is None:
            return False
        value = input_at(node, 0)
    return value is not None


def quantizers(value: Value) -> list[Node]:
    """List the QuantizeLinear nodes that read `value`."""
    return [
        use.node
        for use in value.uses()
        if use.idx == 0 and use.node.op_type == QUANTIZE and use.node.domain in QDQ_DOMAINS
    ]


def is_fully_quantized(value: Value) -> bool:
    """Say whether every reader of `value` is a QuantizeLinear, and it is no graph output."""
    uses = value.uses()
    return bool(uses) and not value.is_graph_output() and len(quantizers(value)) == len(uses)


def form_of(node: Node) -> Form:
    """Tell how a node is computed by what stands around it.

    plain: no quantization around it; quantized: every run-time float input comes from a DequantizeLinear and every
    float output that is read goes to QuantizeLinear only; float: some of them do.
    """
    if converts(node):
        return "plain"
    inputs = [value for value in node.inputs if value is not None and is_float(value) and not is_constant(value)]
    outputs = [value for value in node.outputs if is_float(value) and (value.uses() or value.is_graph_output())]
    from_dequantize = [dequantizer(value) is not None for value in inputs]
    to_quantize = [is_fully_quantized(value) for value in outputs]
    if not any(from_dequantize) and not any(to_quantize):
        return "plain"
    return "quantized" if all(from_dequantize) and all(to_quantize) else "float"


def values_at(node: Node, place: str) -> Iterator[tuple[str, Value]]:
    """Yield the values at a place of a descriptor (`input 0`, `outputs`) that are there, each with its description."""
    side, index = parse_place(place)
    values = node.inputs if side == "input" else node.outputs
    chosen = range(len(values)) if index is None else (index,)
    for position in chosen:
        value = values[position] if position < len(values) else None
        if value is not None:
            yield describe(side, position, value), value


def describe(side: str, position: int, value: Value) -> str:
    """Name a value for a person: `input 0 (hidden)`."""
    return f"{side} {position} ({value.name})" if value.name else f"{side} {position}"
