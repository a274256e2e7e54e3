from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, attribute, constant, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerMatmulNBits(FormulaLowering):
    """MatMulNBits becomes MatMul with weights that DequantizeLinear takes from 4 or 8 bits, block by block.

    `MatMulNBits<bits, block_size>(a, packed, scales, zeros, , bias) -> MatMul(a, DequantizeLinear<block_size>(w,
    scales', zeros')) + bias`, with the weights unpacked and transposed; without zero points they become signed.

    Left alone: other widths than 4 and 8 bits; an order of rows; weights, scales or zero points given at run time;
    rows that are no whole number of blocks; zero points in floats.
    """

    name = "lower-matmul-n-bits"
    op_types = ("com.microsoft::MatMulNBits",)
    produces = frozenset({"Add", "DequantizeLinear", "MatMul"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the product."""
        bits, block = attribute(node, "bits", 4), attribute(node, "block_size", 0)
        rows, columns = attribute(node, "K", 0), attribute(node, "N", 0)
        if bits not in TYPES:
            return Declined(f"its weights have {bits} bits")
        if input_at(node, 4) is not None:
            return Declined("its rows are in an order of their own")
        if block <= 0 or rows % block:
            return Declined(f"{rows} rows are no whole number of blocks of {block}")
        packed, scales, zeros = (constant(input_at(node, index)) for index in (1, 2, 3))
        if packed is None or scales is None or (input_at(node, 3) is not None and zeros is None):
            return Declined("its weights, scales or zero points are not constant")
        if zeros is not None and zeros.dtype != np.uint8:
            return Declined("its zero points are floats")
        signed, unsigned = TYPES[bits]
        weight = _unpacked(packed.reshape(columns, -1), bits)[:, :rows].T
        zero_points: Value | None = None
        if zeros is None:
            weight = (weight.astype(np.int16) - 2 ** (bits - 1)).astype(signed.numpy())
        else:
            levels = _unpacked(zeros.reshape(columns, -1), bits)[:, : rows // block].T
            zero_points = build.edit.constant(levels.astype(unsigned.numpy()), near=node)
            weight = weight.astype(unsigned.numpy())
        matrix = build(
            "DequantizeLinear",
            build.edit.constant(weight, near=node),
            build.array(scales.reshape(columns, -1).T),
            zero_points,
            axis=0,
            block_size=block,
        )
        product = build("MatMul", x, matrix)
        bias = input_at(node, 5)
        return product if bias is None else build("Add", product, bias)


TYPES = {4: (DataType.INT4, DataType.UINT4), 8: (DataType.INT8, DataType.UINT8)}
"""Bits -> signed and unsigned element type."""


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Return one number a byte; of two in a byte the lower half comes first."""
    if bits == 8:
        return packed
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(packed.shape[0], -1)
