from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, attribute, constant, input_at, rank, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerQuantizedGemm(FormulaLowering):
    """ONNX Runtime's QGemm becomes Gemm between DequantizeLinear and QuantizeLinear.

    `QGemm(a, a_scale, a_zero, b, b_scale, b_zero, c, y_scale, y_zero) -> QuantizeLinear(Gemm(DequantizeLinear(a, ...),
    DequantizeLinear(b, ...), DequantizeLinear(c, alpha * a_scale * b_scale)), y_scale, y_zero)`; without `y_scale`
    the result stays float.

    Left alone: scales that are not known, or of more than one axis.
    """

    name = "lower-quantized-gemm"
    op_types = ("com.microsoft::QGemm",)
    produces = frozenset({"DequantizeLinear", "Gemm", "QuantizeLinear"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the product, requantized where its scale is given."""
        scales = [constant(input_at(node, index)) for index in (1, 4)]
        known = [scale.astype(np.float32) for scale in scales if scale is not None and scale.ndim <= 1]
        weight, bias, result_scale = input_at(node, 3), input_at(node, 6), input_at(node, 7)
        if len(known) < len(scales) or weight is None or rank(weight) != 2:
            return Declined("its scales are given at run time or have more than one axis")
        turned = attribute(node, "transB", 0)
        left = build("DequantizeLinear", x, *_parameters(node, 1))
        right = build("DequantizeLinear", weight, *_parameters(node, 4), axis=0 if turned else 1)
        if bias is not None:
            alpha = np.float32(attribute(node, "alpha", 1.0))
            scale = build.edit.constant(np.asarray(alpha * known[0] * known[1]), near=node)
            axis = (rank(bias) or 1) - 1
            bias = build("DequantizeLinear", bias, scale, axis=axis if static_shape(scale) not in ((), (1,)) else None)
        result = build("Gemm", left, right, bias, **node.attributes)
        if result_scale is None:
            return result
        zero = input_at(node, 8)
        kind = None if zero is not None else x.dtype or DataType.UINT8
        return build("QuantizeLinear", result, result_scale, zero, output_dtype=kind)


def _parameters(node: Node, index: int) -> tuple[Value | None, Value | None]:
    return input_at(node, index), input_at(node, index + 1)
