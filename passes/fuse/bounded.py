"""How large the numbers of a value can be, where its nodes alone tell: what is looked up, filled or rearranged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import constant, is_op, producer, static_shape

if TYPE_CHECKING:
    from npuopt.graph import Value

REARRANGES = (
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "Reshape",
    "Slice",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)
STEPS = 12
"""Nodes that are followed."""
LARGEST_TABLE = 1 << 22
"""Elements of a constant that is looked at."""


def bound_of(value: Value | None) -> float | None:
    """Return the largest absolute value that `value` can have, or None where that is not known or not finite.

    `Transpose(Gather(table, index))` is bounded by the constant table, as a bias by distance is.
    """
    for _ in range(STEPS):
        if value is None:
            return None
        shape = static_shape(value) if value.const_value is not None else None
        if shape is not None:
            return _largest(constant(value)) if np.prod(shape, dtype=np.int64) <= LARGEST_TABLE else None
        node = producer(value)
        if node is None:
            return None
        if is_op(node, "ConstantOfShape"):
            fill = node.attributes.get("value")
            return 0.0 if fill is None else _largest(fill.as_tensor().numpy())
        if not is_op(node, *REARRANGES):
            return None
        value = node.inputs[0]
    return None


def _largest(array: np.ndarray | None) -> float | None:
    if array is None or array.size == 0 or array.dtype.kind not in "fiu":
        return None
    largest = float(np.abs(array.astype(np.float64)).max())
    return largest if np.isfinite(largest) else None
