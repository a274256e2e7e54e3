from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import constant, rank, static_shape
from npuopt.passes.lower.axes import SMALL, joined_axes
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

ELEMENTWISE = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "IsInf"),
    *("IsNaN", "Log", "Neg", "Not", "Reciprocal", "Round", "Sign", "Sin", "Sinh", "Sqrt", "Tan", "Tanh", "Cast"),
    *("Celu", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Relu", "Selu", "Shrink"),
    *("Sigmoid", "Softplus", "Softsign", "Swish", "ThresholdedRelu"),
    *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod"),
    *("Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor"),
)
"""Ops that make each element of their result from the elements at the same place, and have no axis."""


@dataclass(frozen=True)
class LowerElementwiseRank(FormulaLowering):
    """An op that works element by element on tensors of high rank works on tensors of rank 4, between Reshapes.

    `Add(x, y) -> Reshape(Add(Reshape(x), Reshape(y)))`: neighbouring axes over which no operand, or the same
    operands, are repeated become one, the outermost first.

    Left alone: rank 4 and below; axes that cannot be joined; shapes that are not static or have no elements.
    """

    name = "lower-elementwise-rank"
    op_types = ELEMENTWISE
    produces = frozenset({*ELEMENTWISE, "Reshape"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the op over fewer axes."""
        if (rank(node.outputs[0]) or 0) <= SMALL:
            return None
        shape, shapes = (
            static_shape(node.outputs[0]),
            [static_shape(value) for value in node.inputs if value is not None],
        )
        aligned = [(*[1] * (len(shape or ()) - len(item)), *item) for item in shapes if item is not None]
        if shape is None or len(aligned) < len(shapes) or 0 in shape:
            return Declined("its shapes are not static, or have no elements")
        groups = joined_axes(shape, aligned, SMALL)
        if len(groups) == len(shape):
            return Declined(f"its operands of shapes {', '.join(map(str, map(list, aligned)))} have no axes to join")
        operands = [None if value is None else _merged(value, len(shape), groups, build) for value in node.inputs]
        result = build(node.op_type, *operands, **node.attributes)
        return build("Reshape", result, build.integers(*shape))


def _merged(value: Value, depth: int, groups: list[list[int]], build: Builder) -> Value:
    """Return the operand with one axis for each group; what is repeated along all axes needs none."""
    own = static_shape(value) or ()
    shape = (*[1] * (depth - len(own)), *own)
    sizes = [math.prod(shape[axis] for axis in group) for group in groups]
    if len(own) <= len(sizes) and [*[1] * (len(sizes) - len(own)), *own] == sizes:
        return value
    known = constant(value)
    if known is not None:
        return build.edit.constant(known.reshape(sizes), near=build.node)
    return build("Reshape", value, build.integers(*sizes))
