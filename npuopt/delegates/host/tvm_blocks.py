"""Questions about the blocks and loops of a TVM schedule, and the steps that every kind of loop nest shares."""

from __future__ import annotations

import math
from collections.abc import Sequence

from npuopt.delegates.host.tvm_api import Block, Buffer, Index, Iterator, Loop, Schedule, s_tir, tvm
from npuopt.delegates.host.tvm_products import CROP, ROLE

SPATIAL, REDUCTION = 0, 2  # tirx.IterVar kinds
LEAST_PARALLEL_WORK = 1 << 16  # element steps; handing loops to threads costs some microseconds


def role_of(schedule: Schedule, block: Block) -> str:
    """The role that the kernel's author gave a block, or an empty string."""
    return str(schedule.get(block).annotations.get(ROLE, ""))


def extent_of(schedule: Schedule, loop: Loop) -> int:
    """The constant extent of a loop."""
    return int(schedule.get(loop).extent)


def iteration_kinds(schedule: Schedule, block: Block) -> list[int]:
    """The kinds of a block's iterators, in order."""
    return [int(iterator.iter_type) for iterator in schedule.get(block).iter_vars]


def is_elementwise(schedule: Schedule, block: Block) -> bool:
    """Whether a block reduces nothing."""
    return all(kind == SPATIAL for kind in iteration_kinds(schedule, block))


def steps_of(schedule: Schedule, block: Block) -> int:
    """How often the body of a block runs."""
    return math.prod(int(iterator.dom.extent) for iterator in schedule.get(block).iter_vars)


def elements_of(buffer: Buffer) -> int:
    """The number of elements of a buffer of constant shape."""
    return math.prod(int(extent) for extent in buffer.shape)


def same_place(schedule: Schedule, producer: Block, consumer: Block) -> bool:
    """Whether `consumer` reads, at each of its own places, just that place of what `producer` writes.

    A producer whose pixels are one axis (batch, height * width, channels) fits a consumer that has two.
    """
    written = schedule.get(producer).writes[0].source
    reader = schedule.get(consumer)
    if not is_elementwise(schedule, consumer):
        return False
    expected = _places(reader.iter_vars, [int(size) for size in written.shape])
    regions = [region.region for region in reader.reads if region.source.same_as(written)]
    analyzer = tvm.sym.Analyzer()
    return bool(expected and regions) and all(
        int(at.extent) == 1 and analyzer.can_prove(at.min == place)
        for region in regions
        for at, place in zip(region, expected, strict=True)
    )


def _places(iterators: Sequence[Iterator], shape: list[int]) -> list[Index]:
    """Where in a tensor of `shape` an element over all of it lies, or nothing where the extents do not fit."""
    extents = [int(iterator.dom.extent) for iterator in iterators]
    places = [iterator.var for iterator in iterators]
    if extents == shape:
        return places
    if len(extents) == 4 and shape == [extents[0], extents[1] * extents[2], extents[3]]:
        return [places[0], places[1] * extents[2] + places[2], places[3]]
    return []


def vectorize_inner(schedule: Schedule, loop: Loop, lanes: int) -> Loop:
    """Vectorize the innermost loop where whole vectors fill it; else leave it to LLVM. Returns what is outside."""
    extent = extent_of(schedule, loop)
    while lanes > 1 and extent % lanes:
        lanes //= 2
    if lanes < 4:
        return loop
    outer, inner = schedule.split(loop, [None, lanes])
    schedule.vectorize(inner)
    return outer


def parallelize(schedule: Schedule, loops: Sequence[Loop], work: int, *, keep: int = 0) -> list[Loop]:
    """Spread the outermost loops over the threads, the last `keep` of them left as they are.

    TVM takes it only before the reductions inside are decomposed. Returns the loops as they then are.
    """
    if work < LEAST_PARALLEL_WORK:
        return list(loops)
    kept = list(loops[len(loops) - keep :]) if keep < len(loops) else []
    spread = list(loops[: len(loops) - len(kept)])
    outermost = schedule.fuse(*spread) if len(spread) > 1 else spread[0]
    schedule.parallel(outermost)
    return [outermost, *kept]


def inline_elementwise(schedule: Schedule, root: Block) -> None:
    """Inline every block without a role that only feeds others."""
    for block in schedule.get_child_blocks(root):
        if role_of(schedule, block) in ("", CROP) and is_elementwise(schedule, block):
            try:
                schedule.compute_inline(block)
            except s_tir.ScheduleError:
                continue  # an output, or a block that TVM cannot inline: it keeps loops of its own
