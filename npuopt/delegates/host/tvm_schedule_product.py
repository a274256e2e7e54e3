"""Orders the loops of a product: a register tile, its elementwise consumers done before it leaves the registers."""

from __future__ import annotations

from npuopt.delegates.host.tvm_api import Block, Index, Loop, Schedule
from npuopt.delegates.host.tvm_blocks import (
    elements_of,
    extent_of,
    parallelize,
    role_of,
    same_place,
    steps_of,
    vectorize_inner,
)
from npuopt.delegates.host.tvm_products import DEPTHWISE
from npuopt.delegates.host.tvm_tiles import Tile

MOST_UNROLLED_TAPS = 9


def schedule_product(schedule: Schedule, block: Block) -> None:
    """Tile a block that carries the annotations of `tvm_products`, with the one block that reads it."""
    annotations = schedule.get(block).annotations
    tile = Tile(*(int(annotations[f"npuopt.{key}"]) for key in ("rows", "vectors", "lanes")))
    work = steps_of(schedule, block)
    last = _last_step(schedule, block)
    outer, inner = _split_tile(schedule, last, tile)
    order = _outer_order(schedule, block, outer)
    schedule.reorder(*order, *inner)
    schedule.compute_at(block, order[-1], preserve_unit_loops=True)
    _in_registers(schedule, inner)
    reuse = 1 if len(order) > 1 and extent_of(schedule, order[-2]) > 1 else 0
    order = parallelize(schedule, order, work, keep=reuse)
    _order_inside(schedule, block, len(order), tile)


def schedule_padding(schedule: Schedule, block: Block, lanes: int) -> None:
    """Copy with zeros around: whole vectors along the last axis."""
    loops = schedule.get_loops(block)
    work = steps_of(schedule, block)
    vectorize_inner(schedule, loops[-1], lanes)
    parallelize(schedule, loops[:-1], work)


def _last_step(schedule: Schedule, block: Block) -> Block:
    """The block that writes the tile to memory: the elementwise consumer, or a copy made for the purpose."""
    consumers = schedule.get_consumers(block)
    if len(consumers) == 1 and same_place(schedule, block, consumers[0]):
        if len(schedule.get_loops(consumers[0])) > len(schedule.get(block).writes[0].source.shape):
            _join_pixels(schedule, consumers[0])
        schedule.set_scope(block, 0, "local")
        return consumers[0]
    return schedule.cache_write(block, 0, "local")


def _join_pixels(schedule: Schedule, block: Block) -> None:
    """Make one axis of height and width."""
    width = extent_of(schedule, schedule.get_loops(block)[2])

    def joined(n: Index, h: Index, w: Index, c: Index) -> tuple[Index, ...]:
        return n, h * width + w, c

    schedule.transform_block_layout(block, joined)


def _split_tile(schedule: Schedule, last: Block, tile: Tile) -> tuple[list[Loop], list[Loop]]:
    """Split the loops of `last`. Returns the loops over tiles and the three loops inside of one."""
    *batch, row, column = schedule.get_loops(last)
    row_tile, row_inner = schedule.split(row, [None, tile.rows])
    column_tile, vector, lane = schedule.split(column, [None, tile.vectors, tile.lanes])
    return [*batch, row_tile, column_tile], [row_inner, vector, lane]


def _outer_order(schedule: Schedule, block: Block, outer: list[Loop]) -> list[Loop]:
    """The order of the loops over tiles that moves fewer bytes: one operand is read again per tile of the other."""
    *batch, row_tile, column_tile = outer
    left, right = (elements_of(region.source) for region in schedule.get(block).reads)
    columns_outside = right + left * extent_of(schedule, column_tile)
    rows_outside = left + right * extent_of(schedule, row_tile)
    if role_of(schedule, block) == DEPTHWISE or columns_outside <= rows_outside:
        return [*batch, column_tile, row_tile]
    return [*batch, row_tile, column_tile]


def _in_registers(schedule: Schedule, inner: list[Loop]) -> None:
    row, vector, lane = inner
    schedule.unroll(row)
    schedule.unroll(vector)
    schedule.vectorize(lane)


def _order_inside(schedule: Schedule, block: Block, depth: int, tile: Tile) -> None:
    """Put the reduction outside of the tile, and start the accumulators before it."""
    loops = schedule.get_loops(block)[depth:]
    dimensions = len(schedule.get(block).writes[0].source.shape)
    *units, row, column = loops[:dimensions]
    reductions = loops[dimensions:]
    vector, lane = schedule.split(column, [None, tile.lanes])
    schedule.reorder(*units, *reductions, row, vector, lane)
    _in_registers(schedule, [row, vector, lane])
    if role_of(schedule, block) == DEPTHWISE:
        taps = 1
        for loop in reversed(reductions):
            taps *= extent_of(schedule, loop)
            if taps <= MOST_UNROLLED_TAPS:
                schedule.unroll(loop)
    schedule.decompose_reduction(block, reductions[0])
