from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, element_type, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

DOMAIN = "com.microsoft::QLinear"
OPERANDS = {
    "Add": 2,
    "AveragePool": 1,
    "Concat": 0,
    "GlobalAveragePool": 1,
    "LeakyRelu": 1,
    "Mul": 2,
    "Sigmoid": 1,
    "Softmax": 1,
}
"""Float op -> number of quantized operands; Concat has its result's scale first and then any number of operands."""


@dataclass(frozen=True)
class LowerQuantizedArithmetic(FormulaLowering):
    """ONNX Runtime's QLinear operators become the float op between DequantizeLinear and QuantizeLinear.

    `QLinearAdd(a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero) ->
    QuantizeLinear(Add(DequantizeLinear(a, a_scale, a_zero), DequantizeLinear(b, b_scale, b_zero)), y_scale, y_zero)`;
    so too QLinearAveragePool, QLinearConcat, QLinearGlobalAveragePool, QLinearLeakyRelu, QLinearMul, QLinearSigmoid,
    QLinearSoftmax.

    Left alone: channels that come last; a QLinearSoftmax of an opset before 13.
    """

    name = "lower-quantized-arithmetic"
    op_types = tuple(DOMAIN + op for op in OPERANDS)
    produces = frozenset({*OPERANDS, "DequantizeLinear", "QuantizeLinear"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the requantized result."""
        op = node.op_type.removeprefix("QLinear")
        if attribute(node, "channels_last", 0):
            return Declined("its channels come last")
        if op == "Softmax" and attribute(node, "opset", 0) < 13:
            return Declined(f"it is the Softmax of opset {attribute(node, 'opset', 0)}")
        first = 2 if op == "Concat" else 0
        last = len(node.inputs) if op == "Concat" else 3 * OPERANDS[op]
        scale, zero = (input_at(node, 0 if op == "Concat" else last), input_at(node, 1 if op == "Concat" else last + 1))
        kind = element_type(input_at(node, first))
        if kind is None:
            return Declined("the type of its operands is not known")
        operands = [
            build("DequantizeLinear", *(input_at(node, index + offset) for offset in range(3)))
            for index in range(first, last, 3)
        ]
        kept = {name: attr for name, attr in node.attributes.items() if name not in ("channels_last", "opset")}
        result = build(op, *operands, **kept)
        return build("QuantizeLinear", result, scale, zero, output_dtype=kind if zero is None else None)
