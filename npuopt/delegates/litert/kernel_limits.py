"""Where LiteRT's integer kernels end, or compute other numbers: such nodes are computed in float."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.delegates.litert.emitters import integer_kinds
from npuopt.delegates.litert.values import (
    constant_encoding,
    dequantizer,
    encoding_of,
    quantizers_of,
)
from npuopt.graph import is_op

if TYPE_CHECKING:
    from npuopt.graph import Node, Value

SUM_BITS = {"int8": 20, "int16": 15}
"""Bits that ADD and SUB shift their inputs by; from LiteRT's `add.cc` and `sub.cc`."""
COARSE = {
    "int8": frozenset({"GlobalAveragePool", "HardSwish", "Neg", "ReduceMean", "Sqrt"}),
    "int16": frozenset({"Exp", "Gelu", "HardSwish", "Log", "Pow", "Sigmoid", "Softmax", "Sqrt", "Tanh"}),
}
"""Ops whose integer kernels make other integers than the formula, where float between integers makes the same, and
one that has none of 16 bits and that 8 bits, which go through float too, serve no faster.
Of 131,072 numbers (ai-edge-litert 2.3.0, XNNPACK with LiteRT's own for what it leaves): of int8, 53 % of SQRT's differ;
NEG drops the zero points; MEAN rounds its zero point, up to 39 % of a global pool's in a real network; HARD_SWISH up to
4 % there, and takes 0.5 ms where float takes 0.01. Of int16, tables leave 17 % (SOFTMAX over 16 numbers, 80 dB; over
6,625 the largest comes out at 0.71) to 87 % (LOGISTIC, 79 dB), RSQRT 40 dB; XNNPACK takes none of them, and float is
two to ten times as fast."""


def why_in_float(node: Node, kind: str, outputs: tuple[Value, ...]) -> str:
    """Return why a node whose data are integers of type `kind` must be computed in float, or an empty string.

    Args:
        node: the node.
        kind: element type of its activations.
        outputs: its outputs, or that of the activation behind it.
    """
    if kind not in integer_kinds(node):
        return f"TFLite has no {kind} kernel for it, so it is computed in float"
    if is_op(node, "Add", "Sub") and _is_too_fine(node, kind, outputs):
        return f"its output's steps are too fine for those of its inputs in LiteRT's {kind} kernel; computed in float"
    return ""


def why_rather_in_float(node: Node, kind: str) -> str:
    """Return why LiteRT's own kernels had better compute a node in float, or an empty string."""
    if node.op_type not in COARSE[kind]:
        return ""
    return f"LiteRT has no {kind} kernel that makes the integers of its formula, so it is computed in float"


def _is_too_fine(node: Node, kind: str, outputs: tuple[Value, ...]) -> bool:
    """Say whether LiteRT would end the process over a sum: its output's factor must be less than one."""
    made = quantizers_of(outputs[0])
    if not made:
        return False
    largest = max(_scale(value, kind) for value in node.inputs if value is not None)
    return 2 * largest / 2 ** SUM_BITS[kind] >= encoding_of(made[0]).scale


def _scale(value: Value, kind: str) -> float:
    maker = dequantizer(value)
    return max((encoding_of(maker) if maker is not None else constant_encoding(value, kind)).scales)
