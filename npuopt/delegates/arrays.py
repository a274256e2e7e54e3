"""Arrays on their way into a child process and back: one npz a sample, called by position, never pickled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def save_arrays(path: Path, arrays: Sequence[np.ndarray]) -> None:
    """Write arrays to an npz, called by their position."""
    np.savez(path, allow_pickle=False, **{str(index): array for index, array in enumerate(arrays)})


def load_arrays(path: Path) -> list[np.ndarray]:
    """Read back what `save_arrays` or a worker wrote."""
    with np.load(path, allow_pickle=False) as archive:
        return [archive[str(index)] for index in range(len(archive.files))]
