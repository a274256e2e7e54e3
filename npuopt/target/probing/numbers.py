"""How far a compiler's numbers are from a reference's."""

from __future__ import annotations

import numpy as np


def largest_error(reference: np.ndarray, made: np.ndarray) -> float:
    """Return the largest difference as a fraction of the reference's largest magnitude; inf for NaN or wrong shape."""
    if reference.shape != made.shape:
        return float("inf")
    if reference.dtype.kind == "b":
        # As bytes: a chip's later ops need not take every byte but 0 for true, as numpy does.
        return float(np.any(reference.view(np.uint8) != made.view(np.uint8)))
    left, right = reference.astype(np.float64), made.astype(np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    difference = np.abs(np.where(same, 0.0, left - right)).max(initial=0.0)
    finite = np.abs(left[np.isfinite(left)])
    scale = finite.max(initial=0.0) or 1.0
    return float(difference / scale) if np.isfinite(difference) else float("inf")
