"""The table of token vectors that stays on the host: mapped, so that only the rows that are read take memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from npuopt.bundle import EmbeddingTable

TYPES = ("float32", "float16", "int8", "uint8")
HALVES = {"int4": 0, "uint4": 8}
"""Types of which a byte holds two, and what stands for zero where no zero points are given."""


class Embedding:
    """Looks token vectors up.

    Args:
        folder: the artifact's.
        table: what it says of its table.

    Raises:
        InputError: when a file is shorter than the record says, or its type is unknown.
    """

    def __init__(self, folder: Path, table: EmbeddingTable) -> None:
        known = (*TYPES, *HALVES)
        if table.dtype not in known:
            raise InputError(f"an embedding of {table.dtype} is not known", hint=f"known are {', '.join(known)}")
        self._factor = np.full(table.width, table.factor, np.float32)
        if table.columns is not None:
            self._factor *= _mapped(folder / table.columns, 0, np.dtype("<f4"), (table.width,))
        self._blocks = _Blocks(folder, table) if table.dtype in HALVES else None
        if self._blocks is not None:
            return
        shape = (table.width, table.rows) if table.turned else (table.rows, table.width)
        numbers = _mapped(folder / table.file, table.offset, np.dtype(table.dtype).newbyteorder("<"), shape)
        self._rows, self._scales = numbers.T if table.turned else numbers, None
        if table.scales is not None:
            self._scales = _mapped(folder / table.scales, table.scales_offset, np.dtype("<f4"), (table.rows,))

    def look_up(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of tokens, float32 [tokens, width]."""
        if self._blocks is not None:
            return self._blocks.look_up(tokens) * self._factor
        vectors = self._rows[tokens].astype(np.float32)
        if self._scales is not None:
            vectors *= self._scales[tokens][:, None]
        return vectors * self._factor


class _Blocks:
    """Rows of 4 bits, in blocks that share a scale and a zero point."""

    def __init__(self, folder: Path, table: EmbeddingTable) -> None:
        block, rows, byte = table.block, table.rows, np.dtype(np.uint8)
        if block is None or block % 2 or table.width % block or table.scales is None or table.turned:
            raise InputError(f"an embedding of {table.dtype} is held in whole blocks along its rows, with their scales")
        count = table.width // block
        self._block, self._signed = block, table.dtype == "int4"
        self._rows = _mapped(folder / table.file, table.offset, byte, (rows, table.width // 2))
        self._scales = _mapped(folder / table.scales, table.scales_offset, np.dtype("<f4"), (rows, count))
        self._points, self._middle = None, HALVES[table.dtype]
        if table.points is not None:
            self._points = _mapped(folder / table.points, table.points_offset, byte, (rows, -(-count // 2)))

    def look_up(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the numbers of rows."""
        scales = self._scales[tokens]
        numbers = self._numbers(self._rows[tokens]).reshape(*scales.shape, self._block)
        if self._points is None:
            numbers -= self._middle
        else:
            numbers -= self._numbers(self._points[tokens])[:, : scales.shape[1], None]
        return (numbers * scales[..., None]).reshape(len(tokens), -1)

    def _numbers(self, pairs: np.ndarray) -> NDArray[np.float32]:
        """Return the two numbers of each byte, [rows, 2 * bytes]."""
        halves = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(len(pairs), -1).astype(np.float32)
        return np.where(halves > 7, halves - 16, halves) if self._signed else halves


def _mapped(path: Path, offset: int, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> np.ndarray:
    end = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if path.stat().st_size < end:
        raise InputError(f"holds {path.stat().st_size} bytes, not {end}", where=str(path), hint="compile again")
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
