"""What models are held against: arrays of a file."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_ARRAY = 2**30
"""Bytes of one array of references."""


def read_references(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a .npz that are small enough to be references, or the token ids of a .npy.

    Raises:
        InputError: when the file cannot be read, or holds pickled objects.
    """
    try:
        if path.suffix == ".npy":
            return {"tokens": np.load(path, allow_pickle=False, mmap_mode="r")}
        with zipfile.ZipFile(path) as archive:
            small = [item.filename for item in archive.infolist() if item.file_size <= LARGEST_ARRAY]
        with np.load(path, allow_pickle=False) as arrays:
            return {name.removesuffix(".npy"): arrays[name.removesuffix(".npy")] for name in small}
    except FileNotFoundError as error:
        raise InputError("there is no such file", where=str(path)) from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot be read as arrays: {error}", where=str(path)) from error
