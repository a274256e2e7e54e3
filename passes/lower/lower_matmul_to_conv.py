from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import constant, input_at, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerMatmulToConv(FormulaLowering):
    """MatMul with a constant matrix becomes a convolution of one tap.

    `MatMul(x, w) -> Reshape(Transpose(Conv<kernel_shape = [1, 1]>(Transpose(Reshape(x)), w')))`: the rows of x lie
    side by side in one image, whose channels are the columns of x.

    Left alone: a second operand that is not a constant matrix; a shape that is not static or has no elements.
    """

    name = "lower-matmul-to-conv"
    op_types = ("MatMul",)
    produces = frozenset({"Conv", "Reshape", "Transpose"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the convolution's result, brought back into order."""
        weight, shape = constant(input_at(node, 1)), static_shape(x)
        if weight is None or weight.ndim != 2:
            return Declined("its second operand is not a constant matrix")
        if shape is None or 0 in (*shape, *weight.shape) or build.type is None or not build.type.is_floating_point():
            return Declined("the shape of its first operand is not static, has no elements, or holds no floats")
        rows = math.prod(shape[:-1])
        image = build("Reshape", x, build.integers(1, 1, rows, shape[-1]))
        columns = build("Transpose", image, perm=[0, 3, 1, 2])
        result = build("Conv", columns, build.array(weight.T[:, :, None, None]), kernel_shape=[1, 1])
        return build(
            "Reshape",
            build("Transpose", result, perm=[0, 2, 3, 1]),
            build.integers(*shape[:-1], weight.shape[1]),
        )
