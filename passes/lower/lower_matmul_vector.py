from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import input_at, rank, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerMatmulVector(FormulaLowering):
    """MatMul with a vector becomes MatMul with a matrix of one row or column.

    `MatMul(x, v) -> Reshape(MatMul(x, Reshape(v, [K, 1])))`, and so with a vector on the left or on both sides

    Left alone: operands that are no vectors; shapes that are not static.
    """

    name = "lower-matmul-vector"
    op_types = ("MatMul",)
    produces = frozenset({"MatMul", "Reshape"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the product of matrices, in the shape of the product."""
        if 1 not in (rank(x), rank(input_at(node, 1))):
            return None
        left, right, result = static_shape(x), static_shape(input_at(node, 1)), static_shape(node.outputs[0])
        if left is None or right is None or result is None:
            return Declined("its shapes are not static")
        row = build("Reshape", x, build.integers(1, *left)) if len(left) == 1 else x
        column = build("Reshape", node.inputs[1], build.integers(*right, 1)) if len(right) == 1 else node.inputs[1]
        return build("Reshape", build("MatMul", row, column), build.integers(*result))
