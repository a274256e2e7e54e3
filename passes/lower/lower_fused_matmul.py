from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, rank
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerFusedMatmul(FormulaLowering):
    """ONNX Runtime's FusedMatMul becomes MatMul, with a Transpose ahead and a Mul behind as its attributes ask.

    `FusedMatMul<transA, transB, alpha>(a, b) -> alpha * MatMul(Transpose(a), Transpose(b))`; `transBatchA` brings the
    first axis of a behind the other batches.

    Left alone: operands of unknown rank, and vectors that are to be transposed.
    """

    name = "lower-fused-matmul"
    op_types = ("com.microsoft::FusedMatMul", "com.microsoft::TransposeMatMul")
    produces = frozenset({"MatMul", "Mul", "Transpose"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the product."""
        orders = [_order(node, index) for index in (0, 1)]
        if why := next((order for order in orders if isinstance(order, str)), ""):
            return Declined(why)
        factors = [
            build("Transpose", input_at(node, index), perm=order) if order else input_at(node, index)
            for index, order in enumerate(orders)
        ]
        product, alpha = build("MatMul", *factors), attribute(node, "alpha", 1.0)
        return product if alpha == 1 else build("Mul", product, alpha)


def _order(node: Node, index: int) -> list[int] | str:
    """Return the axes of an operand as MatMul takes them, nothing where they are so already, or why not."""
    last, batches = (attribute(node, f"{name}{'AB'[index]}", 0) for name in ("trans", "transBatch"))
    depth = rank(input_at(node, index))
    if not last and not batches:
        return []
    if depth is None or depth < 2:
        return "an operand to transpose is a vector, or of unknown rank"
    order = [*range(1, depth - 1), 0, depth - 1] if batches else list(range(depth))
    return [*order[:-2], order[-1], order[-2]] if last else order
