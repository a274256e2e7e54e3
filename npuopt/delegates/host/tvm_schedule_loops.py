"""Orders the loops of everything that is neither a product nor a row: elementwise functions and other reductions."""

from __future__ import annotations

from npuopt.delegates.host.tvm_api import Block, Loop, Schedule
from npuopt.delegates.host.tvm_blocks import (
    REDUCTION,
    SPATIAL,
    extent_of,
    is_elementwise,
    iteration_kinds,
    parallelize,
    steps_of,
    vectorize_inner,
)


def schedule_loops(schedule: Schedule, block: Block, lanes: int) -> None:
    """Vectorize along the last axis where that is a plain step, and spread the outer loops over the threads."""
    loops = schedule.get_loops(block)
    kinds = iteration_kinds(schedule, block)
    if not loops or len(loops) != len(kinds) or not set(kinds) <= {SPATIAL, REDUCTION}:
        return
    work = steps_of(schedule, block)
    if is_elementwise(schedule, block):
        vectorize_inner(schedule, loops[-1], lanes)
        parallelize(schedule, loops[:-1] or loops, work)
        return
    outer = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == SPATIAL]
    reductions = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == REDUCTION]
    if outer and len(schedule.get(block).writes) == 1 and _reads_along(schedule, block, len(outer) - 1):
        _reduce_columns(schedule, block, outer, reductions, lanes, work)
    else:
        parallelize(schedule, outer, work)


def _reads_along(schedule: Schedule, block: Block, axis: int) -> bool:
    """Whether the last index of some input moves with the block's spatial iterator number `axis`."""
    body = schedule.get(block)
    place = [i.var for i in body.iter_vars if int(i.iter_type) == SPATIAL][axis]
    return any(region.region and region.region[-1].min.same_as(place) for region in body.reads)


def _reduce_columns(
    schedule: Schedule, block: Block, outer: list[Loop], reductions: list[Loop], lanes: int, work: int
) -> None:
    """Reduce whole vectors of neighbouring columns at a time."""
    while lanes > 1 and extent_of(schedule, outer[-1]) % lanes:
        lanes //= 2
    if lanes < 4:
        parallelize(schedule, outer, work)
        return
    tile, lane = schedule.split(outer[-1], [None, lanes])
    schedule.reorder(*outer[:-1], tile, *reductions, lane)
    schedule.vectorize(lane)
    copy = schedule.cache_write(block, 0, "local")
    schedule.reverse_compute_at(copy, tile)
    vectorize_inner(schedule, schedule.get_loops(copy)[-1], lanes)
    parallelize(schedule, [*outer[:-1], tile], work)
    schedule.decompose_reduction(block, reductions[0])
