"""Weights of 4 bits in blocks, as a head may hold them: a table of token vectors where their rows lie in one piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from npuopt.bundle import EmbeddingTable
from npuopt.graph import attribute, constant, input_at, static_shape, users
from npuopt.graph.mapped import InFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from npuopt.graph import Model, Node, Value

BITS = 4
PRODUCT = ("com.microsoft", "MatMulNBits")


@dataclass(frozen=True)
class BlockCandidate:
    """Packed weights of MatMulNBits, a row for each token.

    Attributes:
        weight: bytes [vocabulary, blocks, block / 2].
        scales: [vocabulary, blocks], or as many in a row.
        points: bytes [vocabulary, blocks / 2], or none.
        block: neighbours that share a scale.
    """

    weight: Value
    scales: Value
    points: Value | None
    block: int

    def part(self, rows: slice) -> np.ndarray:
        """Return some rows in float32."""
        packed = _numbers(cast("np.ndarray", constant(self.weight))[rows])
        scales = cast("np.ndarray", constant(self.scales)).reshape(self._rows, -1)[rows]
        blocks = packed.reshape(*scales.shape, self.block)
        if self.points is None:
            middles = np.full(scales.shape, 2 ** (BITS - 1), np.float32)
        else:
            points = cast("np.ndarray", constant(self.points)).reshape(self._rows, -1)[rows]
            middles = _numbers(points)[:, : scales.shape[1]]
        return ((blocks - middles[..., None]) * scales[..., None]).reshape(len(scales), -1)

    def table(self, folder: Path, columns: str) -> EmbeddingTable:
        """Return where the weights lie in an artifact, whose vectors are multiplied with `columns`, a file's name."""
        weight, scales = _place(self.weight, folder), _place(self.scales, folder)
        points = (None, 0) if self.points is None else _place(self.points, folder)
        return EmbeddingTable(
            file=weight[0],
            offset=weight[1],
            dtype="uint4",
            rows=self._rows,
            width=int(np.prod(static_shape(self.weight) or (0,))) * 2 // self._rows,
            scales=scales[0],
            scales_offset=scales[1],
            block=self.block,
            points=points[0],
            points_offset=points[1],
            columns=columns,
        )

    @property
    def _rows(self) -> int:
        return (static_shape(self.weight) or (1,))[0]


def block_candidates(model: Model, shape: tuple[int, ...]) -> Iterator[BlockCandidate]:
    """Yield packed weights of a table's shape that lie in a file with their scales and zero points."""
    for value in model.graph.initializers.values():
        for reader in users(value):
            if (reader.domain, reader.op_type) == PRODUCT and input_at(reader, 1) is value:
                found = _candidate(reader, value, shape)
                if found is not None:
                    yield found
                break


def _candidate(reader: Node, weight: Value, shape: tuple[int, ...]) -> BlockCandidate | None:
    sizes = {name: attribute(reader, name, 0) for name in ("N", "K", "bits", "block_size")}
    scales, points = input_at(reader, 2), input_at(reader, 3)
    whole = sizes["block_size"] > 0 and sizes["K"] % sizes["block_size"] == 0
    if (sizes["N"], sizes["K"]) != shape or sizes["bits"] != BITS or not whole or scales is None:
        return None
    tensors = [value.const_value for value in (weight, scales, points) if value is not None]
    if not all(isinstance(tensor, InFile) for tensor in tensors):
        return None
    return BlockCandidate(weight, scales, points, sizes["block_size"])


def _numbers(pairs: np.ndarray) -> np.ndarray:
    """Return the two numbers of each byte, [rows, 2 * bytes]."""
    flat = pairs.reshape(len(pairs), -1)
    return np.stack([flat & 15, flat >> 4], axis=-1).reshape(len(flat), -1).astype(np.float32)


def _place(value: Value, folder: Path) -> tuple[str, int]:
    tensor = cast("InFile", value.const_value)
    return tensor.source.path.resolve().relative_to(folder.resolve()).as_posix(), tensor.offset
