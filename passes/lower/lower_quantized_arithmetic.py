from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, attribute_list, element_type, input_at
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
    "ReduceMean": 1,
    "Sigmoid": 1,
    "Softmax": 1,
    "Where": 2,
}
"""Float op -> number of quantized operands; Concat has any number of them."""
FIRST = {"Concat": 2, "Where": 1}
"""Where the operands start if not at once: Concat has its result's scale and zero ahead, Where its condition."""


@dataclass(frozen=True)
class LowerQuantizedArithmetic(FormulaLowering):
    """ONNX Runtime's QLinear operators become the float op between DequantizeLinear and QuantizeLinear.

    `QLinearAdd(a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero) ->
    QuantizeLinear(Add(DequantizeLinear(a, a_scale, a_zero), DequantizeLinear(b, b_scale, b_zero)), y_scale, y_zero)`;
    so too QLinearAveragePool, QLinearConcat, QLinearGlobalAveragePool, QLinearLeakyRelu, QLinearMul,
    QLinearReduceMean, QLinearSigmoid, QLinearSoftmax, QLinearWhere.

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
        first = FIRST.get(op, 0)
        last = len(node.inputs) if op == "Concat" else first + 3 * OPERANDS[op]
        kind = element_type(input_at(node, first))
        if kind is None:
            return Declined("the type of its operands is not known")
        operands = [
            build("DequantizeLinear", *(input_at(node, index + offset) for offset in range(3)))
            for index in range(first, last, 3)
        ]
        result = _computed(op, node, operands, build)
        scale, zero = (input_at(node, offset if op == "Concat" else last + offset) for offset in range(2))
        return build("QuantizeLinear", result, scale, zero, output_dtype=kind if zero is None else None)


def _computed(op: str, node: Node, operands: list[Value], build: Builder) -> Value:
    """Return the float op of the float operands."""
    kept = {name: attr for name, attr in node.attributes.items() if name not in ("channels_last", "opset", "axes")}
    if op == "Where":
        return build(op, node.inputs[0], *operands)
    axes = attribute_list(node, "axes")
    return build(op, *operands, build.integers(*axes) if axes else None, **kept)
