"""One node on its way into TFLite, together with the activation that TFLite's operator does as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from npuopt.delegates.litert.context import Context
from npuopt.delegates.litert.values import element, encoding_of, quantizers_of
from npuopt.delegates.litert.weights import is_known
from npuopt.errors import InputError
from npuopt.graph import input_at, is_op, label, only_user, rank, scalar

if TYPE_CHECKING:
    from npuopt.graph import Node, Value

FUSES = frozenset({"Add", "Conv", "Div", "Gemm", "MatMul", "Mul", "Sub"})
"""Ops whose TFLite operators end with an activation of their own, if they are given one."""
NONE, RELU, RELU6 = 0, 1, 3
"""Codes of ActivationFunctionType."""


@dataclass(frozen=True)
class Step:
    """What one emitter writes.

    Attributes:
        node: the ONNX node.
        outputs: its outputs, or that of the activation behind it.
        activation: code of that activation.
        swallowed: the node of that activation, and what converts between the two.
    """

    node: Node
    outputs: tuple[Value, ...]
    activation: int = NONE
    swallowed: tuple[Node, ...] = ()

    @property
    def output(self) -> Value:
        """The first output."""
        return self.outputs[0]

    def input(self, index: int) -> Value:
        """Return an input that must be there."""
        value = input_at(self.node, index)
        if value is None:
            raise self.refusal(f"input {index} is left out")
        return value

    def optional(self, index: int) -> Value | None:
        """Return an input that may be left out."""
        return input_at(self.node, index)

    def refusal(self, why: str) -> InputError:
        """Return the error for what TFLite cannot say."""
        return InputError(f"{self.node.op_type} has no TFLite form here: {why}", where=label(self.node))


Emitter: TypeAlias = Callable[[Step, Context], None]
"""Writes one step, or raises what `Step.refusal` returns."""


def step_of(node: Node) -> Step:
    """Return the step of a node, with the activation behind it where TFLite's operator takes it in.

    Also one behind a QuantizeLinear and a DequantizeLinear, where the activation's output has the same encoding: to
    cut integers off is then the same before and after they are stored.
    """
    outputs = tuple(node.outputs)
    if not is_op(node, *FUSES) or (is_op(node, "MatMul") and not _has_matrix(node)):
        return Step(node, outputs)
    between: list[Node] = []
    reader = only_user(node.outputs[0])
    if reader is not None and is_op(reader, "QuantizeLinear"):
        first = reader
        dequantize = only_user(first.outputs[0])
        if dequantize is None or not is_op(dequantize, "DequantizeLinear"):
            return Step(node, outputs)
        between = [first, dequantize]
        reader = only_user(dequantize.outputs[0])
        after = quantizers_of(reader.outputs[0]) if reader is not None and reader.outputs else []
        if len(after) != 1 or _converted(first) != _converted(after[0]):
            return Step(node, outputs)
    code = activation_of(reader) if reader is not None else NONE
    if reader is None or code == NONE:
        return Step(node, outputs)
    return Step(node, tuple(reader.outputs), code, (*between, reader))


def _has_matrix(node: Node) -> bool:
    """Say whether a MatMul's second side is a matrix known at compile time."""
    value = input_at(node, 1)
    return value is not None and is_known(value) and rank(value) == 2


def _converted(converter: Node) -> tuple[object, ...]:
    return encoding_of(converter), element(converter.outputs[0])


def activation_of(node: Node) -> int:
    """Return the code of the activation that a node is, or NONE."""
    if is_op(node, "Relu"):
        return RELU
    if is_op(node, "Clip"):
        low, high = scalar(input_at(node, 1)), scalar(input_at(node, 2))
        if low == 0 and (input_at(node, 2) is None or high == float("inf")):
            return RELU
        if (low, high) == (0, 6):
            return RELU6
    return NONE
