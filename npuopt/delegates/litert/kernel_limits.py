"""Where LiteRT's integer kernels end, or compute other numbers: such nodes are computed in float."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.delegates.litert.emitters import integer_kinds
from npuopt.delegates.litert.values import (
    constant_encoding,
    dequantizer,
    encoding_of,
    is_float,
    quantizers_of,
    shape_of,
)
from npuopt.graph import attribute, is_op

if TYPE_CHECKING:
    from npuopt.graph import Node, Value

SUM_BITS = {"int8": 20, "int16": 15}
"""Bits that ADD and SUB shift their inputs by; from LiteRT's `add.cc` and `sub.cc`."""
MOST_CLASSES = 32
"""Numbers that SOFTMAX may share out in 16 bits. Its table ends at exp(-10), and what is less still counts as 2 of
32,768: with 32 numbers it is within 54 dB of the right answer, with 128 within 42, with 6,625 within 11 (measured,
ai-edge-litert 2.3.0)."""


def why_in_float(node: Node, kind: str, outputs: tuple[Value, ...], *, interpreted: bool) -> str:
    """Return why a node whose data are integers of type `kind` is computed in float, or an empty string.

    Args:
        node: the node.
        kind: element type of its activations.
        outputs: its outputs, or that of the activation behind it.
        interpreted: LiteRT's kernels compute what is written, and not a vendor's compiler.
    """
    if kind not in integer_kinds(node):
        return f"TFLite has no {kind} kernel for it, so it is computed in float"
    if is_op(node, "Add", "Sub") and _is_too_fine(node, kind, outputs):
        return f"its output's steps are too fine for those of its inputs in LiteRT's {kind} kernel; computed in float"
    if interpreted and kind == "int16" and is_op(node, "Softmax") and _classes(node) > MOST_CLASSES:
        return f"LiteRT's 16-bit Softmax is coarse beyond {MOST_CLASSES} numbers, so it is computed in float"
    return ""


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


def _classes(node: Node) -> int:
    value = node.inputs[0]
    shape = shape_of(value) if is_float(value) and value is not None else (0,)
    return shape[attribute(node, "axis", -1) % len(shape)]
