"""Lets products with weights of 8 bits quantize what they multiply while they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import Builder, DataType, attribute, constant, element_type, input_at, producer, rank
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class InsertDynamicQuantization(NodePass):
    """Products with weights of 8 bits find the range of what they multiply as they run, and compute on integers.

    `MatMul(x, DequantizeLinear(w, s)) -> Cast(MatMulInteger(q, w, z)) * (t * s)` with `q, t, z =
    DynamicQuantizeLinear(x)`: one range for the whole of x, of each run.

    Left alone: weights of other types than int8, with zero points, in blocks or with scales along another axis than
    that of channels; data other than float32.
    """

    name = "insert-dynamic-quantization"
    op_types = ("MatMul",)

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Multiply integers, and scale what comes of it."""
        del target  # whether this form is wanted is asked by whoever runs the pass
        x, dequantize = input_at(node, 0), producer(input_at(node, 1), "DequantizeLinear")
        if x is None or dequantize is None:
            return None
        fault = _fault(node, dequantize)
        if fault:
            return Declined(fault)
        build = Builder(edit, node)
        data, step, zero_point = build.many("DynamicQuantizeLinear", 3, x)
        total = build("MatMulInteger", data, input_at(dequantize, 0), zero_point)
        scale = build("Mul", step, input_at(dequantize, 1))
        made = build("Mul", build("Cast", total, to=DataType.FLOAT), scale)
        edit.replace_node(node, made)
        edit.erase_unread(dequantize)
        return Changed("quantizes what it multiplies as it runs")


def _fault(node: Node, dequantize: Node) -> str:
    """Say what keeps the product from being computed so, or nothing."""
    weight, scale, points = (input_at(dequantize, index) for index in range(3))
    if element_type(weight) != DataType.INT8 or constant(weight) is None:
        return "its weight is no constant of int8"
    if element_type(input_at(node, 0)) != DataType.FLOAT:
        return f"its data is {element_type(input_at(node, 0))}, and only float32 is quantized so"
    zero_points = constant(points)
    if points is not None and (zero_points is None or np.any(zero_points)):
        return "its weight has zero points"
    if attribute(dequantize, "block_size", 0):
        return "its weight has scales of blocks"
    if rank(weight) != 2 or (rank(scale) == 1 and attribute(dequantize, "axis", 1) % 2 != 1):
        return "its weight has no scale for each channel"
    return ""
