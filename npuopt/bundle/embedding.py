"""The record of an embedding that stays on the host."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from npuopt.bundle.manifest_parts import RelativePath, StrictRecord

Positive = Annotated[int, Field(ge=1)]


class EmbeddingTable(StrictRecord):
    """The embedding, kept out of the graphs: the caller looks tokens up and gives their vectors.

    Attributes:
        file: holds a raw little-endian array [vocabulary, width], to be mapped; a tied head's weights, where there are
            some, which the profiles read too.
        offset: where the array starts in it, in bytes.
        turned: whether it lies there as [width, vocabulary].
        dtype: float32, float16, int8, uint8, or int4 or uint4, of which a byte holds two, the lower half first.
        rows, width: its shape.
        scales: holds a raw float32 array where the table holds integers: [rows], vector = integers * scale; of 4 bits
            [rows, width / block], each for a block of a row.
        scales_offset: where that starts.
        block: neighbours in a row that share a scale; for 4 bits.
        points: holds the zero points of the blocks, two in a byte, each row's from a byte of its own; without it 8 of
            uint4, 0 of int4.
        points_offset: where those start.
        columns: a raw float32 array [width] that vectors are multiplied with: what a head's weights were divided by.
        factor: what the graph's input wants beyond the table's numbers: vector * factor.
    """

    file: RelativePath
    dtype: str
    rows: Positive
    width: Positive
    offset: int = Field(default=0, ge=0)
    turned: bool = False
    scales: RelativePath | None = None
    scales_offset: int = Field(default=0, ge=0)
    block: Positive | None = None
    points: RelativePath | None = None
    points_offset: int = Field(default=0, ge=0)
    columns: RelativePath | None = None
    factor: float = 1.0

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it lies in."""
        names = (self.file, self.scales, self.points, self.columns)
        return tuple(name for name in names if name is not None)
