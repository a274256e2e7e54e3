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
        InputError: when a file is shorter than the record says, or its type is unknown.
    """

    def __init__(self, folder: Path, table: EmbeddingTable) -> None:
        if table.dtype not in TYPES:
            raise InputError(f"an embedding of {table.dtype} is not known", hint=f"known are {', '.join(TYPES)}")
        shape = (table.width, table.rows) if table.turned else (table.rows, table.width)
        numbers = _mapped(folder / table.file, table.offset, np.dtype(table.dtype).newbyteorder("<"), shape)
        self._rows, self._scales = numbers.T if table.turned else numbers, None
        if table.scales is not None:
            self._scales = _mapped(folder / table.scales, table.scales_offset, np.dtype("<f4"), (table.rows,))
        self._factor = np.full(table.width, table.factor, np.float32)
        if table.columns is not None:
            self._factor *= _mapped(folder / table.columns, 0, np.dtype("<f4"), (table.width,))

    def look_up(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of tokens, float32 [tokens, width]."""
        vectors = self._rows[tokens].astype(np.float32)
        if self._scales is not None:
            vectors *= self._scales[tokens][:, None]
        return vectors * self._factor


def _mapped(path: Path, offset: int, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> np.ndarray:
    end = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if path.stat().st_size < end:
        raise InputError(f"holds {path.stat().st_size} bytes, not {end}", where=str(path), hint="compile again")
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
