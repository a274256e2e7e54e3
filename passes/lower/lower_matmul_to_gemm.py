from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import input_at, rank, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerMatmulToGemm(FormulaLowering):
    """MatMul with a matrix becomes Gemm.

    `MatMul(x, w) -> Gemm(x, w)`; an x of higher rank becomes a matrix of all its rows, between two Reshapes.

    Left alone: a second operand that is no matrix; a vector; a first operand of higher rank whose shape is not
    static or has no elements.
    """

    name = "lower-matmul-to-gemm"
    op_types = ("MatMul",)
    produces = frozenset({"Gemm", "Reshape"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the Gemm, in the shape of the product."""
        weight, depth = input_at(node, 1), rank(x)
        if rank(weight) != 2 or depth is None or depth < 2:
            return Declined("its operands are not some rows and a matrix")
        if depth == 2:
            return build("Gemm", x, weight)
        shape, result = static_shape(x), static_shape(node.outputs[0])
        if shape is None or result is None or 0 in (*shape, *result):
            return Declined("the shape of its first operand is not static, or has no elements")
        rows = build("Reshape", x, build.integers(math.prod(shape[:-1]), shape[-1]))
        return build("Reshape", build("Gemm", rows, weight), build.integers(*result))
