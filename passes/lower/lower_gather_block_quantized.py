from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, attribute, constant, element_type, input_at, rank
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

NARROW = (DataType.INT4, DataType.UINT4)


@dataclass(frozen=True)
class LowerGatherBlockQuantized(FormulaLowering):
    """GatherBlockQuantized becomes Gather from a table that DequantizeLinear takes from 4 or 8 bits.

    `GatherBlockQuantized<block_size>(data, i, scales, zeros) -> Gather(DequantizeLinear<block_size>(data, scales,
    zeros), i)`, with numbers that share bytes unpacked; bytes without zero points count from the middle of their
    range.

    Left alone: tables given at run time; 2 bits; floats of 4 or 8 bits; rows that are no whole number of blocks.
    """

    name = "lower-gather-block-quantized"
    op_types = ("com.microsoft::GatherBlockQuantized",)
    produces = frozenset({"DequantizeLinear", "Gather"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the rows."""
        table, zeros = constant(x), constant(input_at(node, 3))
        depth, bits = rank(x) or 0, attribute(node, "bits", 4)
        block, axis = attribute(node, "block_size", 128), attribute(node, "quantize_axis", 1) % max(depth, 1)
        if table is None or (input_at(node, 3) is not None and zeros is None):
            return Declined("its table or zero points are not constant")
        packed = element_type(x) == DataType.UINT8
        if not (packed and bits in (4, 8)) and element_type(x) not in NARROW:
            return Declined(f"its table holds {bits} bits in {element_type(x)}")
        kind = (DataType.UINT4 if bits == 4 else DataType.UINT8) if packed else element_type(x)
        assert kind is not None  # noqa: S101 -- it is one of those above
        if packed and bits == 4:
            table = _unpacked(table)
        scales = constant(input_at(node, 2))
        if block <= 0 or table.shape[axis] % block or scales is None:
            return Declined(f"its rows of {table.shape[axis]} are no whole number of blocks of {block}")
        if packed and zeros is None:
            zeros = np.full(scales.shape, 2 ** (bits - 1))
        elif packed and bits == 4 and zeros is not None:
            zeros = _unpacked(zeros)[..., : scales.shape[-1]]
        levels = None if zeros is None else build.edit.constant(zeros.astype(kind.numpy()), near=node)
        whole = build(
            "DequantizeLinear",
            build.edit.constant(table.astype(kind.numpy()), near=node),
            input_at(node, 2),
            levels,
            axis=axis,
            block_size=block,
        )
        return build("Gather", whole, input_at(node, 1), axis=attribute(node, "gather_axis", 0))


def _unpacked(packed: np.ndarray) -> np.ndarray:
    """Return one number a byte; of two in a byte the lower half comes first."""
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)
