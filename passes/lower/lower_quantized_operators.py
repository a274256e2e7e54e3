from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import constant, input_at, rank, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerQuantizedOperators(FormulaLowering):
    """QLinearConv and QLinearMatMul become the float op between DequantizeLinear and QuantizeLinear.

    `QLinearMatMul(a, ..., b, ..., y_scale, y_zero) -> QuantizeLinear(MatMul(DequantizeLinear(a, ...),
    DequantizeLinear(b, ...)), y_scale, y_zero)`; a convolution's bias has the product of the two scales.

    Left alone: scales of more than one axis, or, with a bias, that are given at run time.
    """

    name = "lower-quantized-operators"
    op_types = ("QLinearConv", "QLinearMatMul")
    produces = frozenset({"Conv", "DequantizeLinear", "MatMul", "QuantizeLinear"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the requantized result."""
        scales = [input_at(node, index) for index in (1, 4, 6)]
        if any(rank(scale) is None or (rank(scale) or 0) > 1 for scale in scales):
            return Declined("its scales have more than one axis, or are of unknown rank")
        is_conv, weight, bias = node.op_type == "QLinearConv", input_at(node, 3), input_at(node, 8)
        factors = [factor for scale in scales[:2] if (factor := constant(scale)) is not None]
        if bias is not None and len(factors) < 2:
            return Declined("its bias has scales that are given at run time")
        left = _dequantized(x, scales[0], input_at(node, 2), (rank(x) or 2) - 2, build)
        right = _dequantized(weight, scales[1], input_at(node, 5), 0 if is_conv else (rank(weight) or 1) - 1, build)
        if bias is not None:
            scale = np.broadcast_to(factors[0] * factors[1], static_shape(bias) or (1,))
            bias = build("DequantizeLinear", bias, build.edit.constant(scale, near=node), axis=0)
        result = build("Conv" if is_conv else "MatMul", left, right, bias, **node.attributes)
        rows = (rank(result) or 2) - 2 if rank(scales[2]) else None
        return build("QuantizeLinear", result, scales[2], input_at(node, 7), axis=rows)


def _dequantized(value: Value | None, scale: Value | None, zero: Value | None, axis: int, build: Builder) -> Value:
    """Return `value` in floats; `axis` is where a scale for each place counts."""
    return build("DequantizeLinear", value, scale, zero, axis=axis if rank(scale) else None)
