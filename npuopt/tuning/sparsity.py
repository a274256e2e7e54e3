"""2:4 sparsity: of every four weights that a product sums up, the two largest stay.

The pattern is the one that sparse matrix units take. Source: Mishra et al., "Accelerating Sparse Deep Neural
Networks", 2021, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import constant, input_at, is_constant, is_op, nodes
from npuopt.target.channels import channel_axis

if TYPE_CHECKING:
    from npuopt.graph import Model

GROUP, KEPT = 4, 2


def masks(model: Model) -> dict[str, np.ndarray]:
    """Return which weights stay, by the weight's name: float32 of zeros and ones in the weight's shape.

    Left out: weights that sum up a number of features that four does not divide, depthwise and grouped filters.
    """
    found: dict[str, np.ndarray] = {}
    for node in nodes(model, "Conv", "Gemm", "MatMul"):
        weight = input_at(node, 1)
        if weight is None or not is_constant(weight):
            continue
        array, axis = constant(weight), channel_axis(node, 1)
        if array is None or axis is None or array.ndim < 2 or (is_op(node, "MatMul") and array.ndim != 2):
            continue
        rows = np.moveaxis(array, axis, 0)
        # channels last, so that a group of four lies along them at one place of the filter
        features = np.moveaxis(rows, 1, -1)
        if features.shape[-1] % GROUP == 0:
            kept = np.moveaxis(largest(features), -1, 1)
            found[weight.name or ""] = np.ascontiguousarray(np.moveaxis(kept, 0, axis))
    return found


def largest(features: np.ndarray) -> np.ndarray:
    """Return float32 ones at the `KEPT` largest magnitudes of each `GROUP` along the last axis, zeros elsewhere."""
    groups = np.abs(features).reshape(-1, GROUP)
    order = np.argsort(-groups, axis=1, kind="stable")[:, :KEPT]
    kept = np.zeros(groups.shape, np.float32)
    np.put_along_axis(kept, order, 1.0, axis=1)
    return kept.reshape(features.shape)
