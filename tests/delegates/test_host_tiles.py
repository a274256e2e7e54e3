"""Register tiles: what is kept in registers fits, and fills the vectors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npuopt.delegates.host.tvm_tiles import Tile, VectorUnit, choose_tile, cycles, padded_columns

AVX2, AVX512, NEON = VectorUnit(8, 16), VectorUnit(16, 32), VectorUnit(4, 32)
units = st.sampled_from([AVX2, AVX512, NEON])


@given(rows=st.integers(1, 600), columns=st.integers(1, 600), unit=units)
def test_a_tile_fits_the_registers_and_divides_the_columns(rows, columns, unit):
    padded = padded_columns(columns, unit)
    tile = choose_tile(rows, padded, unit)
    assert padded >= columns
    assert padded % tile.columns == 0
    assert tile.rows <= rows
    assert tile.rows * tile.vectors < unit.registers


@given(columns=st.integers(1, 4000), unit=units)
def test_padding_adds_less_than_a_vector_and_only_where_none_fits(columns, unit):
    padded = padded_columns(columns, unit)
    assert padded - columns < unit.lanes
    assert padded == columns or unit.lanes_for(columns) == 1


@pytest.mark.parametrize(
    ("rows", "columns", "unit", "tile"),
    [
        (128, 384, AVX2, Tile(rows=4, vectors=3, lanes=8)),  # 12 accumulators
        (1, 2048, AVX2, Tile(rows=1, vectors=8, lanes=8)),  # one row hides the latency with its columns
        (128, 8, AVX2, Tile(rows=13, vectors=1, lanes=8)),  # one vector hides it with its rows
        (49, 24, AVX512, Tile(rows=7, vectors=3, lanes=8)),  # half vectors, for whole ones leave a rest
    ],
)
def test_what_is_chosen(rows, columns, unit, tile):
    assert choose_tile(rows, columns, unit) == tile


def test_a_tile_that_sticks_out_costs_as_if_it_did_not():
    tile = Tile(rows=6, vectors=2, lanes=8)
    assert cycles(tile, 7, 16) == cycles(tile, 12, 16)
