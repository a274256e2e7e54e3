from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, constant, input_at, rank, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerIntegerProducts(FormulaLowering):
    """MatMulInteger and ConvInteger become a float product of dequantized operands, where floats hold it exactly.

    `MatMulInteger(a, b, a_zero, b_zero) -> Cast<int32>(MatMul(DequantizeLinear(a, 1, a_zero),
    DequantizeLinear(b, 1, b_zero)))`; no partial sum may exceed 2 ** 24, up to which float32 holds every integer.

    Left alone: sums that might be larger; zero points of more than one axis; shapes that are not static.
    """

    name = "lower-integer-products"
    op_types = ("ConvInteger", "MatMulInteger")
    produces = frozenset({"Cast", "Conv", "DequantizeLinear", "MatMul"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the rounded product."""
        weight, zeros = input_at(node, 1), [input_at(node, index) for index in (2, 3)]
        if weight is None or any(zero is not None and not _is_vector(zero) for zero in zeros):
            return Declined("a zero point has more than one axis, or a shape that is not static")
        largest = _largest_sum(node)
        if isinstance(largest, Declined):
            return largest
        if largest > EXACT:
            return Declined(f"its sums may reach {largest}, and floats hold integers up to {EXACT}")
        build.type = DataType.FLOAT
        is_conv = node.op_type == "ConvInteger"
        left = _dequantized(x, zeros[0], (rank(x) or 2) - 2, build)
        right = _dequantized(weight, zeros[1], 0 if is_conv else (rank(weight) or 1) - 1, build)
        product = build("Conv" if is_conv else "MatMul", left, right, **node.attributes)
        return build("Cast", product, to=DataType.INT32)


EXACT = 2**24


def _largest_sum(node: Node) -> int | Declined:
    """Return a bound of the magnitude of any sum of products: from the weights where they are constant."""
    shape, weight = static_shape(input_at(node, 1)), constant(input_at(node, 1))
    if shape is None:
        return Declined("the shape of its weights is not static")
    is_conv = node.op_type == "ConvInteger"
    given = input_at(node, 3)
    zero = np.zeros((), np.int64) if given is None else constant(given)
    if weight is None or zero is None:
        terms = math.prod(shape[1:]) if is_conv else (1, *shape)[-2]
        return WIDEST * WIDEST * terms
    zero = zero.astype(np.int64)
    shifted = weight.astype(np.int64) - (zero.reshape(-1, *[1] * (weight.ndim - 1)) if is_conv else zero)
    axes = tuple(range(1, weight.ndim)) if is_conv else max(weight.ndim - 2, 0)
    return WIDEST * int(abs(shifted).sum(axes).max(initial=0))


WIDEST = 255
"""Between the least and the largest of 8 bits."""


def _is_vector(value: Value) -> bool:
    shape = static_shape(value)
    return shape is not None and len(shape) <= 1


def _dequantized(value: Value, zero: Value | None, axis: int, build: Builder) -> Value:
    """Take the zero point from `value`: one, or one for each place along `axis`."""
    shape = static_shape(zero) or ()
    return build("DequantizeLinear", value, build.array(np.ones(shape)), zero, axis=axis if shape else None)
