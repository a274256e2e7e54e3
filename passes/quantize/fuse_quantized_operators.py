"""Writes ops between DequantizeLinear and QuantizeLinear as ops on integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import DataType, attribute, constant, element_type, input_at, is_op, only_user, producer, static_shape
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target

BYTES = (DataType.INT8, DataType.UINT8)
CONTRIB = "com.microsoft"
ELEMENTWISE = {"Add": "QLinearAdd", "Mul": "QLinearMul"}
UNARY = {"LeakyRelu": "QLinearLeakyRelu", "Sigmoid": "QLinearSigmoid"}


@dataclass(frozen=True)
class FuseQuantizedOperators(NodePass):
    """Ops between DequantizeLinear and QuantizeLinear become QLinearConv, QLinearMatMul and other ops on integers.

    `QuantizeLinear(Conv(DequantizeLinear(x), DequantizeLinear(w), DequantizeLinear(b)), s, z) -> QLinearConv(x, w, b)`
    with the scales and zero points of all; so MatMul, Gemm (QGemm), Add, Mul, LeakyRelu and Sigmoid, the latter as
    ops of ONNX Runtime.

    Left alone: ops with an operand in float, or whose result is read in float too; types of other than 8 bits, and
    signed data beside unsigned; biases other than int32 in the product of the scales; scales of blocks; activations
    with several scales; Gemm with a factor on its bias or a transposed first operand.
    """

    name = "fuse-quantized-operators"
    op_types = ("Add", "Conv", "Gemm", "LeakyRelu", "MatMul", "Mul", "Sigmoid")

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Compute on the integers that are there before and after."""
        del target  # whether these ops are wanted is asked by whoever runs the pass
        makers = [None if value is None else producer(value, "DequantizeLinear") for value in node.inputs]
        if not any(makers):
            return None
        quantize = only_user(node.outputs[0])
        if quantize is None or not is_op(quantize, "QuantizeLinear"):
            return Declined("its result is read in float")
        operands = [maker for maker in makers if maker is not None]
        if len(operands) < len([value for value in node.inputs if value is not None]):
            return Declined("one of its operands is in float")
        fault = _fault(node, operands, quantize)
        if fault:
            return Declined(fault)
        made = _emit(node, operands, quantize, edit)
        edit.replace_node(quantize, made)
        edit.erase_unread(node)
        return Changed(f"became {made.producer().op_type}")  # pyright: ignore[reportOptionalMemberAccess] -- just emitted


def _fault(node: Node, operands: list[Node], quantize: Node) -> str:
    """Say what keeps the node from being computed on integers, or nothing."""
    data = [*operands[:2], quantize]
    types = [element_type(input_at(operands[0], 0)), element_type(quantize.outputs[0])]
    if any(element_type(input_at(one, 0)) not in BYTES for one in operands[:2]) or types[1] not in BYTES:
        return "its operands or its result have other than 8 bits"
    weighs = is_op(node, "Conv", "Gemm", "MatMul")
    if types[0] != types[1] or (not weighs and len({element_type(input_at(one, 0)) for one in operands[:2]}) > 1):
        return "its operands and its result are not all signed or all unsigned"
    if types[0] == DataType.INT8 and element_type(input_at(data[1], 0)) != DataType.INT8:
        return "its weights are unsigned beside signed data"
    if any(len(one.inputs) < 3 or attribute(one, "block_size", 0) for one in data):
        return "an encoding of it has no zero point, or scales of blocks"
    sized = [one for one in (data[0], quantize) if static_shape(input_at(one, 1)) != ()]
    if sized or (not weighs and static_shape(input_at(data[1], 1)) != ()):
        return "an activation of it has several scales"
    return _fault_of_bias(node, operands) if len(operands) > 2 else _fault_of_gemm(node)


def _fault_of_gemm(node: Node) -> str:
    if is_op(node, "Gemm") and (attribute(node, "beta", 1.0) != 1.0 or attribute(node, "transA", 0)):
        return "it has a factor on its bias, or its first operand transposed"
    return ""


def _fault_of_bias(node: Node, operands: list[Node]) -> str:
    """Say what is wrong with a bias: it has to be what the accumulator starts with."""
    scales = [constant(input_at(operand, 1)) for operand in operands]
    bias = input_at(operands[2], 0)
    if element_type(bias) != DataType.INT32 or any(scale is None for scale in scales):
        return "its bias is no int32 with a constant scale"
    x, weight, own = (scale.reshape(-1).astype("float64") for scale in scales if scale is not None)
    product = x * weight * attribute(node, "alpha", 1.0)
    if own.size not in (1, product.size) or (abs(own - product) > 1e-5 * product).any():
        return "its bias has another scale than the product of the others"
    return _fault_of_gemm(node)


def _emit(node: Node, operands: list[Node], quantize: Node, edit: Editor) -> Value:
    """Emit the op on integers ahead of the QuantizeLinear that it replaces."""
    encodings: list[Value | None] = [value for one in operands[:2] for value in one.inputs]
    result: list[Value | None] = list(quantize.inputs[1:3])
    bias = input_at(operands[2], 0) if len(operands) > 2 else None
    if is_op(node, "Conv"):
        inputs = [*encodings, *result, *([] if bias is None else [bias])]
        return edit.emit("QLinearConv", inputs, node.attributes, before=quantize)
    if is_op(node, "MatMul"):
        return edit.emit("QLinearMatMul", [*encodings, *result], before=quantize)
    if is_op(node, "Gemm"):
        attributes = {name: value for name, value in node.attributes.items() if name in ("alpha", "transB")}
        return edit.emit("QGemm", [*encodings, bias, *result], attributes, before=quantize, domain=CONTRIB)
    kind = ELEMENTWISE.get(node.op_type) or UNARY[node.op_type]
    return edit.emit(kind, [*encodings, *result], node.attributes, before=quantize, domain=CONTRIB)
