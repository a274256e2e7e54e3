"""Writing samples the way npuopt reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


def save_samples(path: Path, **arrays: np.ndarray) -> None:
    """Write a compressed .npz; the leading axis of each array counts samples.

    Raises:
        ValueError: when the counts differ, or a number is not finite.
    """
    if len({len(array) for array in arrays.values()}) != 1:
        raise ValueError(f"{path.name}: the arrays differ in their number of samples")
    if not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
        raise ValueError(f"{path.name}: a number is not finite")
    np.savez_compressed(path, **arrays)
