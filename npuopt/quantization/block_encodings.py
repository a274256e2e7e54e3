"""How a weight is held in blocks or channels, for the record: its numbers are in the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from npuopt.errors import InputError
from npuopt.graph import DataType, element_type, is_constant, producer, static_shape
from npuopt.quantization.blocks import BlockFormat

if TYPE_CHECKING:
    from npuopt.graph import Value

SCALE_TYPES = (DataType.FLOAT, DataType.FLOAT16, DataType.BFLOAT16)
"""Types of weights that DequantizeLinear makes at opset 24."""

HeldType = Literal["int4", "uint4", "int8", "uint8"]


class BlockEncoding(BaseModel):
    """How one weight is held as integers that are turned back into floats ahead of their use.

    A model of a billion weights has tens of millions of scales, so that they are not listed here. The same format and
    the same way of rounding find the same scales in the same weight.

    Attributes:
        dtype: the integer type.
        axis: the axis along which `block` neighbours share a scale; without blocks, the channel axis.
        block: how many neighbours; None for one scale for all that has the same index along `axis`.
        symmetric: no zero points other than the middle of the type.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: HeldType
    axis: int = Field(ge=0)
    block: int | None = Field(default=None, ge=1)
    symmetric: bool = True

    @property
    def format(self) -> BlockFormat:
        """The format of the weight's rows, as `rows` lays them out."""
        return BlockFormat(self.dtype, self.block, self.symmetric)

    def rows(self, array: np.ndarray) -> np.ndarray:
        """Return a weight as [channels, features], a view where there is one."""
        if self.block is None:
            return np.moveaxis(array, self.axis, 0).reshape(array.shape[self.axis], -1)
        return np.moveaxis(array, self.axis, -1).reshape(-1, array.shape[self.axis])

    def like_weight(self, rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return [channels, features] in the weight's own shape.

        Args:
            rows: as `rows` returned them, changed.
            shape: the weight's.
        """
        position = 0 if self.block is None else len(shape) - 1
        moved = [dim for axis, dim in enumerate(shape) if axis != self.axis]
        moved.insert(position, shape[self.axis])
        return np.ascontiguousarray(np.moveaxis(rows.reshape(moved), position, self.axis))

    def like_scales(self, each: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return one number for each block, [channels, blocks], in the shape that DequantizeLinear wants."""
        if self.block is None:
            return each.reshape(-1)
        return self.like_weight(each, (*shape[: self.axis], each.shape[1], *shape[self.axis + 1 :]))

    def check_fits(self, value: Value) -> None:
        """Raise InputError when the tensor is no constant of floats, held already or not, or has no such axis."""
        where, shape = value.name or "", static_shape(value)
        if (
            not (is_constant(value) or producer(value, "DequantizeLinear"))
            or shape is None
            or element_type(value) not in SCALE_TYPES
        ):
            raise InputError("only constants of float32, float16 and bfloat16 are held in blocks", where=where)
        if self.axis >= len(shape):
            raise InputError(f"axis {self.axis} of a tensor of rank {len(shape)}", where=where)
