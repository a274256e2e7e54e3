from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, constant, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerGemm(FormulaLowering):
    """Gemm becomes MatMul and Add.

    `Gemm<alpha, beta, transA, transB>(a, b, c) -> alpha * MatMul(a', b') + beta * c`; constants are transposed and
    scaled at once.

    Left alone: integers with a factor other than 1.
    """

    name = "lower-gemm"
    op_types = ("Gemm",)
    produces = frozenset({"Add", "MatMul", "Mul", "Transpose"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return `alpha * MatMul(a', b') + beta * c`."""
        weight, bias = input_at(node, 1), input_at(node, 2)
        alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
        if weight is None or build.type is None:
            return None
        if not build.type.is_floating_point() and (alpha, beta) != (1, 1):
            return Declined(f"its factors {alpha} and {beta} do not fit into {build.type}")
        left = _transposed(x, build) if attribute(node, "transA", 0) else x
        right = _transposed(weight, build) if attribute(node, "transB", 0) else weight
        product = build("MatMul", left, right)
        if alpha != 1:
            product = build("Mul", product, alpha)
        return product if bias is None else build("Add", product, _scaled(bias, beta, build))


def _transposed(value: Value, build: Builder) -> Value:
    known = constant(value)
    return build("Transpose", value, perm=[1, 0]) if known is None else build.array(known.T)


def _scaled(value: Value, factor: float, build: Builder) -> Value:
    if factor == 1:
        return value
    known = constant(value)
    return build("Mul", value, factor) if known is None else build.array(known * factor)
