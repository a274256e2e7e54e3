"""The table of token vectors that stays on the host: mapped, so that only the rows that are read take memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from npuopt.bundle.language_model import EmbeddingTable

TYPES = ("float32", "float16", "int8", "uint8")


class Embedding:
    """Looks token vectors up.

    Args:
        folder: the artifact's.
        table: what it says of its table.

    Raises:
        InputError: when a file's size is not what the record says, or its type is unknown.
    """

    def __init__(self, folder: Path, table: EmbeddingTable) -> None:
        if table.dtype not in TYPES:
            raise InputError(f"an embedding of {table.dtype} is not known", hint=f"known are {', '.join(TYPES)}")
        self._rows = _mapped(folder / table.file, np.dtype(table.dtype).newbyteorder("<"), (table.rows, table.width))
        self._scales = None
        if table.scales is not None:
            self._scales = _mapped(folder / table.scales, np.dtype("<f4"), (table.rows,))
        self._factor = np.float32(table.factor)

    def look_up(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of tokens, float32 [tokens, width]."""
        vectors = self._rows[tokens].astype(np.float32)
        if self._scales is not None:
            vectors *= self._scales[tokens][:, None]
        return vectors * self._factor


def _mapped(path: Path, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> np.ndarray:
    expected = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if path.stat().st_size != expected:
        raise InputError(f"holds {path.stat().st_size} bytes, not {expected}", where=str(path), hint="compile again")
    return np.memmap(path, dtype=dtype, mode="r", shape=shape)
