"""Orders the loops of softmax, normalizations and reductions: one row at a time, its lanes in registers."""

from __future__ import annotations

from npuopt.delegates.host.tvm_api import Block, Loop, Schedule
from npuopt.delegates.host.tvm_blocks import (
    LEAST_PARALLEL_WORK,
    is_elementwise,
    role_of,
    steps_of,
    vectorize_inner,
)
from npuopt.delegates.host.tvm_rows import LANES

ROWS_AT_A_TIME = 16  # the row buffers are allocated once for so many rows


class UnfitError(Exception):
    """The function is not of the shape that this schedule is for."""


def schedule_rows(schedule: Schedule, root: Block, lanes: int) -> None:
    """Bring every block of a function made by `tvm_rows` under one loop over the rows of its last block.

    Raises:
        UnfitError: when the last block does not run over the same rows.
    """
    *steps, last = schedule.get_child_blocks(root)
    row, inner = _row_loop(schedule, last, steps)
    for block in reversed(steps):
        schedule.compute_at(block, row, preserve_unit_loops=True)
    for block in steps:
        _schedule_step(schedule, block, row, lanes)
    if inner:
        vectorize_inner(schedule, inner[-1], lanes)


def _row_loop(schedule: Schedule, last: Block, steps: list[Block]) -> tuple[Loop, list[Loop]]:
    """The loop over rows, and the loops of `last` inside of it (none where it writes one value for a row)."""
    folded = next(block for block in steps if schedule.get(block).name_hint.startswith("folded"))
    rows = [int(iterator.dom.extent) for iterator in schedule.get(folded).iter_vars]
    loops = schedule.get_loops(last)
    extents = [int(schedule.get(loop).extent) for loop in loops]
    if extents[: len(rows)] != rows or len(extents) > len(rows) + 1:
        raise UnfitError
    work = sum(steps_of(schedule, block) for block in (*steps, last))
    row = schedule.fuse(*loops[: len(rows)]) if len(rows) > 1 else loops[0]
    if work >= LEAST_PARALLEL_WORK:
        group, row = schedule.split(row, [None, ROWS_AT_A_TIME])
        schedule.parallel(group)
    return row, list(loops[len(rows) :])


def _schedule_step(schedule: Schedule, block: Block, row: Loop, lanes: int) -> None:
    loops = schedule.get_loops(block)
    inside = loops[_depth(schedule, loops, row) + 1 :]
    if is_elementwise(schedule, block):
        if role_of(schedule, block) == LANES:
            schedule.set_scope(block, 0, "local")
        vectorize_inner(schedule, inside[-1], lanes)
        return
    *_, width, step = inside
    schedule.set_scope(block, 0, "local")
    schedule.reorder(step, width)
    vector, lane = schedule.split(width, [None, lanes])
    schedule.unroll(vector)
    schedule.vectorize(lane)
    schedule.decompose_reduction(block, step)


def _depth(schedule: Schedule, loops: list[Loop], loop: Loop) -> int:
    wanted = schedule.get_sref(loop)
    return next(at for at, other in enumerate(loops) if schedule.get_sref(other).same_as(wanted))
