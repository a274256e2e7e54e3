"""Seeded inputs that a model can digest: floats from a normal law, indices within the table they point into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from npuopt.errors import InputError
from npuopt.graph.queries import dims, input_at, is_constant, is_op, static_shape, users

if TYPE_CHECKING:
    from collections.abc import Mapping

INDEX_STEPS = 8
"""How many shape-preserving ops to look through from an input to the table that it indexes."""


def seeded_inputs(model: ir.Model, seed: int, sizes: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """Draw one set of inputs for a model.

    Floats are standard normal; integers lie below the smallest dimension that they index (2 where none is
    found); booleans are coin flips.

    Args:
        model: its inputs that have no default value are drawn.
        seed: the same model and seed give the same inputs.
        sizes: of symbolic dims, by name or as `input:position`.

    Raises:
        InputError: when a dim has no size, or an input is of a type that cannot be drawn.
    """
    generator = np.random.default_rng(seed)
    feeds: dict[str, np.ndarray] = {}
    for value in model.graph.inputs:
        if value.is_initializer():
            continue
        feeds[value.name or ""] = _draw(generator, value, _shape(value, sizes or {}))
    return feeds


def _shape(value: ir.Value, sizes: Mapping[str, int]) -> tuple[int, ...]:
    declared = dims(value)
    shape: list[int] = []
    for position, dim in enumerate(("",) if declared is None else declared):
        size = dim if isinstance(dim, int) else sizes.get(dim or "", sizes.get(f"{value.name}:{position}"))
        if size is None:
            raise InputError("has no static shape", where=f"input {value.name!r}", hint="give its dims with --dim")
        shape.append(size)
    return tuple(shape)


def _draw(generator: np.random.Generator, value: ir.Value, shape: tuple[int, ...]) -> np.ndarray:
    dtype = value.dtype
    if dtype is None or dtype == ir.DataType.STRING:
        raise InputError(f"cannot draw values of type {dtype}", where=f"input {value.name!r}")
    numpy_type = dtype.numpy()
    if dtype == ir.DataType.BOOL:
        return generator.integers(0, 2, shape).astype(np.bool_)
    if numpy_type.kind in "iu":
        return generator.integers(0, index_bound(value), shape).astype(numpy_type)
    return generator.standard_normal(shape).astype(numpy_type)


def index_bound(value: ir.Value) -> int:
    """Return the exclusive upper bound of the values to draw for an integer tensor."""
    rows = table_rows(value)
    return 2 if rows is None else max(rows, 1)


def table_rows(value: ir.Value) -> int | None:
    """Return how many rows the smallest constant table has that the tensor indexes; None where it indexes none."""
    bounds: list[int] = []
    frontier = [value]
    for _ in range(INDEX_STEPS):
        following: list[ir.Value] = []
        for current in frontier:
            for node in users(current):
                data = input_at(node, 0)
                if is_op(node, "Gather", "GatherElements") and data is not current and is_constant(data):
                    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
                    shape = static_shape(data)
                    bounds += [shape[axis]] if shape else []
                elif is_op(node, "Cast", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Expand", "Flatten"):
                    following.append(node.outputs[0])
        frontier = following
    return min(bounds, default=None)
