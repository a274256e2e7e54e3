from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, input_at, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

Corner = tuple[np.ndarray, np.ndarray]
"""For each place of the result a row (or column), and how much it weighs."""


@dataclass(frozen=True)
class LowerGridSample(FormulaLowering):
    """GridSample at constant places becomes Gathers of pixels and a weighted sum.

    `GridSample(x, grid) -> Reshape(Gather(pixels, i) * w + ...)` with `pixels = Reshape(x, [N, C, H * W])`, one Gather
    for each of the four pixels around a place, or one for the nearest; where places lie outside of an image of zeros,
    one pixel of zero is added behind the others.

    Left alone: a grid given at run time, or another for each image of a batch; cubic interpolation; volumes; shapes
    that are not static or have no elements.
    """

    name = "lower-grid-sample"
    op_types = ("GridSample",)
    produces = frozenset({"Add", "Gather", "Mul", "Pad", "Reshape"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the interpolated pixels."""
        shape, grid = static_shape(x), constant(input_at(node, 1))
        mode = attribute(node, "mode", "linear")
        if shape is None or len(shape) != 4 or 0 in shape:
            return Declined("the shape of its images is not static, has no elements or is that of volumes")
        if grid is None or grid.size == 0 or not np.isfinite(grid).all() or (grid != grid[:1]).any():
            return Declined("its grid is not constant, or differs between images")
        if mode not in ("linear", "nearest"):
            return Declined(f"it interpolates in mode {mode}")
        batch, channels, height, width = shape
        rows, columns = (
            _corners(grid[0, :, :, place].reshape(-1), size, node) for place, size in ((1, height), (0, width))
        )
        pixels = build("Reshape", x, build.integers(batch, channels, height * width))
        pairs = [(row, column) for row in rows for column in columns]
        inside = [_is_inside(row[0], height) & _is_inside(column[0], width) for row, column in pairs]
        if not all(item.all() for item in inside):
            pixels = build("Pad", pixels, build.integers(0, 0, 0, 0, 0, 1), 0.0)
        terms: list[Value] = []
        for (row, column), within in zip(pairs, inside, strict=True):
            place = np.where(within, row[0] * width + column[0], height * width).astype(np.int64)
            taken = build("Gather", pixels, build.edit.constant(place, near=node), axis=2)
            terms.append(taken if mode == "nearest" else build("Mul", taken, build.array(row[1] * column[1])))
        total = terms[0]
        for term in terms[1:]:
            total = build("Add", total, term)
        return build("Reshape", total, build.integers(batch, channels, *grid.shape[1:3]))


def _corners(places: np.ndarray, size: int, node: Node) -> list[Corner]:
    """Return the pixels of one axis around each place, or the nearest one; those outside as the padding says.

    Args:
        places: from -1 to 1 within the image.
        size: pixels along the axis.
        node: the GridSample.
    """
    aligned, padding = attribute(node, "align_corners", 0), attribute(node, "padding_mode", "zeros")
    low, high = (0.0, size - 1.0) if aligned else (-0.5, size - 0.5)
    one, two, length = (np.asarray(number, places.dtype) for number in (1, 2, size))
    inner = (places + one) / two * (length - one) if aligned else ((places + one) * length - one) / two
    found = inner.astype(np.float64)  # rounded until here as ONNX Runtime does, which decides between two pixels
    if attribute(node, "mode", "linear") == "nearest":
        found = np.rint(found)
        corners = [(found, np.ones_like(found))]
    else:
        if padding == "border":
            found = found.clip(0, size - 1)
        elif padding == "reflection":
            found = _reflected(found, low, high)
        first = np.floor(found)
        corners = [(first, first + 1 - found), (first + 1, found - first)]
    if padding == "zeros":
        return corners
    if padding == "reflection":
        corners = [(_reflected(place, low, high), weight) for place, weight in corners]
    return [(place.clip(0, size - 1), weight) for place, weight in corners]


def _reflected(places: np.ndarray, low: float, high: float) -> np.ndarray:
    """Reflect places at both ends until they lie between."""
    span = high - low
    if span == 0:
        return np.full_like(places, low)
    beyond = np.abs(places - low) % (2 * span)
    return low + np.where(beyond > span, 2 * span - beyond, beyond)


def _is_inside(places: np.ndarray, size: int) -> np.ndarray:
    return (places >= 0) & (places < size)
