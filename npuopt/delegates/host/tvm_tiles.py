"""How many rows and columns of a product one loop nest keeps in registers.

A product is C[rows, columns] += A[rows, depth] * B[depth, columns] with the columns along the vector. The
model of one step over the depth: two fused multiply-adds and two loads a cycle, a latency of four cycles,
one load for each vector of B and one broadcast for each row of A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MULTIPLY_ADDS_PER_CYCLE = 2
LOADS_PER_CYCLE = 2
LATENCY_CYCLES = 4
LOAD_SHARE = 0.25  # of the loads' time, what multiply-adds do not hide
MOST_ROWS = 16
MOST_VECTORS = 8


@dataclass(frozen=True)
class VectorUnit:
    """The registers of one CPU: float32 lanes of one, and how many there are."""

    lanes: int
    registers: int

    def lanes_for(self, extent: int) -> int:
        """The widest vector of at most `lanes` that divides `extent`, or 1."""
        lanes = self.lanes
        while lanes > 1 and extent % lanes:
            lanes //= 2
        return lanes if lanes >= min(4, self.lanes) else 1


@dataclass(frozen=True)
class Tile:
    """A block of the product held in registers: `rows` by `vectors` vectors of `lanes`."""

    rows: int
    vectors: int
    lanes: int

    @property
    def columns(self) -> int:
        """Elements of one row of the tile."""
        return self.vectors * self.lanes


def choose_tile(rows: int, columns: int, unit: VectorUnit) -> Tile:
    """The cheapest tile whose columns divide `columns` (which `VectorUnit.lanes` must divide or halve)."""
    lanes = unit.lanes_for(columns)
    candidates = (
        Tile(tile_rows, vectors, lanes)
        for vectors in range(1, MOST_VECTORS + 1)
        if columns % (vectors * lanes) == 0
        for tile_rows in range(1, min(rows, MOST_ROWS) + 1)
        if _registers(tile_rows, vectors) <= unit.registers
    )
    # Among equals the one with fewer tiles to start, then the one with fewer rows (shorter code).
    return min(candidates, key=lambda tile: (cycles(tile, rows, columns), -tile.columns, tile.rows))


def padded_columns(columns: int, unit: VectorUnit) -> int:
    """The columns to pad to, so that whole vectors fit."""
    if unit.lanes_for(columns) > 1:
        return columns
    return math.ceil(columns / unit.lanes) * unit.lanes


def _registers(rows: int, vectors: int) -> int:
    # Accumulators, the vectors of B (a single row takes them from memory), and one broadcast of A.
    return rows * vectors + (vectors if rows > 1 else 0) + 1


def cycles(tile: Tile, rows: int, columns: int) -> float:
    """Cycles of one step over the depth of a whole product, tiles that stick out counted whole."""
    work = tile.rows * tile.vectors / MULTIPLY_ADDS_PER_CYCLE
    loads = (tile.rows + tile.vectors) / LOADS_PER_CYCLE
    tiles = math.ceil(rows / tile.rows) * (columns // tile.columns)
    return tiles * (max(work, loads, LATENCY_CYCLES) + LOAD_SHARE * loads)
