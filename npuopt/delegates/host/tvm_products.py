"""Products (MatMul and Conv) as loop nests over weights packed at compile time.

A constant weight is rewritten to [columns / c, depth..., c], c being the columns of the register tile, so that the
innermost loop reads it as one stream. The blocks carry their tile in annotations, which `tvm_schedule_product` reads;
nothing here decides the order of loops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.delegates.host.tvm_api import Index, Tensor, compute, te, tirx

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.delegates.host.tvm_tiles import Tile

ROLE = "npuopt.role"
PRODUCT, DEPTHWISE, PAD, CROP = "product", "depthwise", "pad", "crop"

Shape = tuple[int, ...]


def pack_columns(weight: np.ndarray, padded: int, columns: int) -> np.ndarray:
    """[..., N] -> [padded / columns, ..., columns], zeros beyond N."""
    widened = np.zeros((*weight.shape[:-1], padded), weight.dtype)
    widened[..., : weight.shape[-1]] = weight
    split = widened.reshape(*weight.shape[:-1], padded // columns, columns)
    return np.ascontiguousarray(np.moveaxis(split, -2, 0))


def packed_matmul(left: Tensor, packed: Tensor, columns: int, tile: Tile) -> Tensor:
    """[..., M, K] x packed [N / c, K, c] -> [..., M, N]."""
    *lead, rows, depth = left.shape
    k = te.reduce_axis((0, depth), name="k")
    c = tile.columns
    padded = int(packed.shape[0]) * c

    def element(*index: Index) -> Index:
        *batch, i, j = index
        return te.sum(left(*batch, i, k) * packed(tirx.indexdiv(j, c), k, tirx.indexmod(j, c)), axis=k)

    product = compute((*lead, rows, padded), element, "product", _annotation(PRODUCT, tile))
    return _crop(product, columns)


def batched_matmul(left: Tensor, right: Tensor, padded: int, tile: Tile, *, pack: bool) -> Tensor:
    """[..., M, K] x [..., K, N] -> [..., M, N] with broadcast leading dimensions, neither side constant.

    Args:
        left: of rank 2 or more.
        right: of rank 2 or more.
        padded: the columns to compute, a multiple of the tile's.
        tile: the register tile.
        pack: copy the right side to [..., N / c, K, c] first, which pays when many rows read it.
    """
    rows, depth = left.shape[-2:]
    columns = int(right.shape[-1])
    lead = np.broadcast_shapes(ints(left.shape[:-2]), ints(right.shape[:-2]))
    k = te.reduce_axis((0, depth), name="k")
    c = tile.columns
    packed = _pack(right, padded, c) if pack or padded != columns else None

    def element(*index: Index) -> Index:
        *batch, i, j = index
        at = _of_batch(right.shape[:-2], batch)
        value = right(*at, k, j) if packed is None else packed(*at, tirx.indexdiv(j, c), k, tirx.indexmod(j, c))
        return te.sum(left(*_of_batch(left.shape[:-2], batch), i, k) * value, axis=k)

    product = compute((*lead, rows, padded), element, "product", _annotation(PRODUCT, tile))
    return _crop(product, columns)


@dataclass(frozen=True)
class Window:
    """The geometry of a two-dimensional convolution over NHWC data.

    Attributes:
        image: height and width of the data.
        kernel: height and width of the filter.
        strides: steps along height and width.
        padding: zeros added at top, left, bottom and right.
        dilation: distance between taps along height and width.
    """

    image: Shape
    kernel: Shape
    strides: Shape
    padding: Shape
    dilation: Shape

    @property
    def padded(self) -> Shape:
        """Height and width with the zeros around."""
        top, left, bottom, right = self.padding
        return self.image[0] + top + bottom, self.image[1] + left + right

    @property
    def result(self) -> Shape:
        """Height and width of the output."""
        reach = ((size - 1) * dilation + 1 for size, dilation in zip(self.kernel, self.dilation, strict=True))
        return tuple(
            (size - length) // stride + 1 for size, length, stride in zip(self.padded, reach, self.strides, strict=True)
        )

    def place(self, height: Index, width: Index, row: Index, column: Index) -> tuple[Index, Index]:
        """Where in the padded data the tap (row, column) of one output pixel lies."""
        return (
            height * self.strides[0] + row * self.dilation[0],
            width * self.strides[1] + column * self.dilation[1],
        )

    def pad(self, data: Tensor) -> Tensor:
        """`data` with zeros around it, or itself where nothing is to be added."""
        if not any(self.padding):
            return data
        top, left = self.padding[:2]
        batch, height, width, channels = data.shape

        def element(n: Index, h: Index, w: Index, c: Index) -> Index:
            inside = tirx.all(h >= top, h < height + top, w >= left, w < width + left)
            return tirx.if_then_else(inside, data(n, h - top, w - left, c), tirx.const(0.0, "float32"))

        return compute((batch, *self.padded, channels), element, "padded", {ROLE: PAD})


def convolution(data: Tensor, packed: Tensor, out_channels: int, groups: int, window: Window, tile: Tile) -> Tensor:
    """NHWC x packed [O / c, kh, kw, I / groups, c] -> NHWO, the pixels of an image as one axis of the product."""
    padded = window.pad(data)
    kh = te.reduce_axis((0, window.kernel[0]), name="kernel_row")
    kw = te.reduce_axis((0, window.kernel[1]), name="kernel_column")
    depth = int(packed.shape[3])
    ic = te.reduce_axis((0, depth), name="in_channel")
    (height, width), c = window.result, tile.columns

    def element(n: Index, pixel: Index, o: Index) -> Index:
        place = window.place(tirx.indexdiv(pixel, width), tirx.indexmod(pixel, width), kh, kw)
        weight = packed(tirx.indexdiv(o, c), kh, kw, ic, tirx.indexmod(o, c))
        channel = ic if groups == 1 else tirx.indexdiv(o, out_channels // groups) * depth + ic
        return te.sum(padded(n, *place, channel) * weight, axis=(kh, kw, ic))

    shape = (data.shape[0], height * width, int(packed.shape[0]) * c)
    product = compute(shape, element, "product", _annotation(PRODUCT, tile))

    def pixel(n: Index, h: Index, w: Index, o: Index) -> Index:
        return product(n, h * width + w, o)

    return compute((data.shape[0], height, width, out_channels), pixel, "image")


def depthwise(data: Tensor, kernel: Tensor, window: Window, tile: Tile) -> Tensor:
    """NHWC x HW1C -> NHWC, one filter for each channel."""
    padded = window.pad(data)
    kh = te.reduce_axis((0, window.kernel[0]), name="kernel_row")
    kw = te.reduce_axis((0, window.kernel[1]), name="kernel_column")

    def element(n: Index, h: Index, w: Index, c: Index) -> Index:
        return te.sum(padded(n, *window.place(h, w, kh, kw), c) * kernel(kh, kw, 0, c), axis=(kh, kw))

    shape = (data.shape[0], *window.result, data.shape[3])
    return compute(shape, element, "depthwise", _annotation(DEPTHWISE, tile))


def ints(values: Sequence[Index]) -> Shape:
    """TVM's integers as Python's."""
    return tuple(int(value) for value in values)


def _annotation(role: str, tile: Tile) -> dict[str, str | int]:
    return {ROLE: role, "npuopt.rows": tile.rows, "npuopt.vectors": tile.vectors, "npuopt.lanes": tile.lanes}


def _crop(product: Tensor, columns: int) -> Tensor:
    if int(product.shape[-1]) == columns:
        return product
    shape = (*product.shape[:-1], columns)
    return compute(shape, product, "cropped", {ROLE: CROP})


def _pack(right: Tensor, padded: int, columns: int) -> Tensor:
    """[..., K, N] -> [..., padded / columns, K, columns], zeros beyond N."""
    *lead, depth, width = right.shape

    def element(*index: Index) -> Index:
        *batch, panel, k, column = index
        j = panel * columns + column
        if padded == int(width):
            return right(*batch, k, j)
        return tirx.if_then_else(j < width, right(*batch, k, j), tirx.const(0.0, "float32"))

    return compute((*lead, padded // columns, depth, columns), element, "packed", {ROLE: PAD})


def _of_batch(own: Sequence[Index], batch: Sequence[Index]) -> list[Index]:
    """Where in a tensor with the leading dimensions `own` the element of a broadcast batch lies."""
    used = batch[len(batch) - len(own) :]
    return [0 if int(extent) == 1 else at for extent, at in zip(own, used, strict=True)]
