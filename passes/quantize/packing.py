"""Weights behind DequantizeLinear in the layout of ONNX Runtime's kernels for weights in blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from npuopt.graph import DataType, attribute, constant, element_type, input_at, static_shape

if TYPE_CHECKING:
    from npuopt.graph import Node

BITS = {DataType.INT4: 4, DataType.UINT4: 4, DataType.INT8: 8, DataType.UINT8: 8}
BLOCKS = (128, 64, 32, 16)
"""Blocks that a channel with one scale is cut into: the largest that leaves no rest."""


@dataclass(frozen=True)
class PackedWeight:
    """A matrix of channels times features, as MatMulNBits has it.

    Attributes:
        bits: of each element.
        block: features that share a scale: a power of two of at least 16.
        channels: how many rows.
        features: how many columns, without what fills up the last block.
        data: uint8 [channels, blocks, block * bits / 8], of two elements in a byte the lower half comes first.
        scales: [channels, blocks].
        zero_points: uint8 [channels, blocks * bits / 8 rounded up]; None where all are the middle.
    """

    bits: int
    block: int
    channels: int
    features: int
    data: np.ndarray
    scales: np.ndarray
    zero_points: np.ndarray | None


def feature_axis(dequantize: Node) -> int:
    """Return the axis of features of a matrix: the one that blocks lie along, or the one without channels."""
    axis = attribute(dequantize, "axis", 1) % 2
    return axis if attribute(dequantize, "block_size", 0) else 1 - axis


def packed(dequantize: Node) -> PackedWeight | str:
    """Return the weight that a DequantizeLinear reads, packed, or why that cannot be done."""
    arrays = [constant(input_at(dequantize, index)) for index in range(3)]
    shape, block = static_shape(input_at(dequantize, 0)), attribute(dequantize, "block_size", 0)
    bits = BITS.get(element_type(input_at(dequantize, 0)) or DataType.UNDEFINED)
    integers, scales, points = arrays
    if integers is None or scales is None or (points is None and input_at(dequantize, 2) is not None):
        return "its weights, scales or zero points are not constant"
    if bits is None:
        return "its weights have neither 4 nor 8 bits"
    if shape is None or len(shape) != 2:
        return f"its weight has rank {len(shape or ())}, not 2"
    if block and (block < min(BLOCKS) or block & (block - 1)):
        return f"blocks of {block} are no power of two of at least {min(BLOCKS)}"
    if scales.ndim == 0:
        return "it has one scale for the whole tensor"
    axis = feature_axis(dequantize)
    rows = _unsigned(np.moveaxis(integers, axis, 1), bits)
    channels, features = rows.shape
    if block:
        each = np.moveaxis(scales, axis, 1)
        middles = None if points is None else _unsigned(np.moveaxis(points, axis, 1), bits)
    else:
        block = next((one for one in BLOCKS if features % one == 0), 32)
        count = -(-features // block)
        each = np.repeat(scales[:, None], count, axis=1)
        middles = None if points is None else np.repeat(_unsigned(points, bits)[:, None], count, axis=1)
    filled = np.zeros((channels, each.shape[1] * block), np.uint8)
    filled[:, :features] = rows
    data = _in_bytes(filled, bits).reshape(channels, each.shape[1], block * bits // 8)
    middle = 2 ** (bits - 1)
    unsigned = cast("DataType", element_type(input_at(dequantize, 0))) in (DataType.UINT4, DataType.UINT8)
    if middles is None and unsigned:
        middles = np.zeros(each.shape, np.uint8)
    if middles is not None and (middles == middle).all():
        middles = None
    zero_points = None if middles is None else _in_bytes(middles, bits)
    return PackedWeight(bits, block, channels, features, data, np.ascontiguousarray(each), zero_points)


def _unsigned(integers: np.ndarray, bits: int) -> np.ndarray:
    """Return integers as uint8, signed ones shifted so that the least becomes 0."""
    shift = 0 if integers.dtype.name.startswith("u") else 2 ** (bits - 1)
    return (integers.astype(np.int16) + shift).astype(np.uint8)


def _in_bytes(rows: np.ndarray, bits: int) -> np.ndarray:
    """Pack each row; a last half byte is filled with zeros."""
    if bits == 8:
        return np.ascontiguousarray(rows)
    low, high = rows[:, 0::2], rows[:, 1::2]
    made = low.copy()
    made[:, : high.shape[1]] |= high << 4
    return made
