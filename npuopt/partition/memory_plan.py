"""A plan of a device's on-chip memory: what lives when, how much at once, and what has to go to DRAM."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import qualified_op_type, static_shape
from npuopt.partition.layers import layer_of
from npuopt.partition.lifetimes import Lifetime, lifetimes, written_in_place
from npuopt.partition.order import depth_first
from npuopt.partition.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from npuopt.graph import Node, Value
    from npuopt.partition.plan import Part
    from npuopt.target import Target


@dataclass(frozen=True)
class MemoryPlan:
    """What one region keeps in memory while it runs. All sizes in bytes.

    Attributes:
        peak: most that its run-time tensors take at once.
        at: the node at which they do.
        on_chip: most of the scratchpad that is in use at once; all of it where something does not fit, for pieces of
            that pass through the room that is left.
        weights: its constants.
        spilled: names of the buffers that live in DRAM, whole or as pieces of others: those that do not fit into the
            scratchpad, and what the target keeps there: the region's inputs and outputs, or all that layers hand over.
        spilled_bytes: their sizes together.
        lifetimes: every buffer, in the order of creation.
    """

    peak: int
    at: str
    on_chip: int
    weights: int
    spilled: frozenset[str]
    spilled_bytes: int
    lifetimes: tuple[Lifetime, ...]


def plan_memory(part: Part, target: Target, scheme: str) -> MemoryPlan | None:
    """Find out when each run-time tensor of a region lives, and keep in the scratchpad what is used most.

    What an op needs for itself, as the target says, lives in its step.

    Ops run in the order of the part, or depth first where the target says so. Inputs live from the start, outputs until
    the end, and an element-wise op writes over an operand that nobody needs any more. Buffers go into the scratchpad in
    the order of how often each of their bytes is read or written in a step of their life, as long as there is room over
    all of it. As the target says, makers of a Concat's operands write into its result, and ops read copies of operands.

    Args:
        part: a region; without static shapes there is no plan, and None is returned.
        target: its scratchpad bounds what stays on the chip, without one everything does; it says where the region's
            inputs and outputs lie.
        scheme: what float tensors of a graph without Q/DQ will be held in.
    """
    storage = Storage(part.nodes, target, scheme)
    nodes = depth_first(part) if target.memory.order == "depth-first" else part.nodes
    order = storage.computing(nodes)
    if not storage.sized(order):
        return None
    memory = target.memory
    homes = written_in_place(part, order, storage) if memory.concat_in_place else {}
    lives = lifetimes(part, order, storage, homes, memory.copied_inputs)
    lives += [life for step, node in enumerate(order) for life in _temporary(node, step, memory.temporaries)]
    if memory.batch_weights:
        lives += [life for step, node in enumerate(order) for life in _batch_weights(node, step, storage)]
    steps = max(len(order), 1)
    room = None if memory.scratchpad_kib is None else memory.scratchpad_kib * 1024
    used = _usage(lives, steps)
    peak = int(used.argmax())
    ends = _kept_outside(part, order, storage, target)
    outside = [life for life in lives if life.name in ends]
    inside = [life for life in lives if life.name not in ends]
    spilled = _spilled(inside, steps, room)
    away = ends | {life.name for life in spilled}
    return MemoryPlan(
        peak=int(used[peak]),
        at="" if not order else order[peak].name or order[peak].outputs[0].name or "",
        on_chip=room if room is not None and spilled else int(_usage(inside, steps).max()),
        weights=sum(storage.weight_bytes(node) for node in order),
        spilled=frozenset(away | {piece for piece, home in homes.items() if home in away}),
        spilled_bytes=sum(life.bytes for life in (*outside, *spilled)),
        lifetimes=tuple(lives),
    )


def _kept_outside(part: Part, order: Sequence[Node], storage: Storage, target: Target) -> frozenset[str]:
    """Name the buffers that never lie in the scratchpad: of what layers hand over, or of the region's ends."""
    values: list[Value | None] = []
    if target.memory.handover == "dram":
        values = [value for node in order for value in (*node.inputs, *node.outputs)]
    elif target.memory.ends == "dram":
        values = [*part.input_values, *part.output_values]
    held = (storage.buffer(value) for value in values if value is not None)
    return frozenset(buffer.name for buffer in held if buffer is not None)


def _temporary(node: Node, step: int, bytes_of: Mapping[str, int]) -> Iterator[Lifetime]:
    """Yield what an op needs for itself alone, written once and read once."""
    size = prod(static_shape(node.outputs[0]) or (0,)) * bytes_of.get(qualified_op_type(node), 0)
    if size:
        yield Lifetime(f"{node.outputs[0].name}/temporary", size, step, step, 2)


def _batch_weights(node: Node, step: int, storage: Storage) -> Iterator[Lifetime]:
    """Yield the weights of a convolution of many images, written once and read for each."""
    layer = layer_of(node, storage)
    if layer is not None and layer.images > 1:
        yield Lifetime(f"{node.outputs[0].name}/weights", storage.weight_bytes(node), step, step, 1 + layer.images)


def _usage(lifetimes: Sequence[Lifetime], steps: int) -> np.ndarray:
    """Return how many bytes live at each step."""
    change = np.zeros(steps + 1, np.int64)
    for life in lifetimes:
        change[life.first] += life.bytes
        change[life.last + 1] -= life.bytes
    return change.cumsum()[:steps]


def _spilled(lifetimes: Sequence[Lifetime], steps: int, room: int | None) -> list[Lifetime]:
    if room is None:
        return []
    free = np.full(steps, room, np.int64)
    spilled: list[Lifetime] = []
    for life in sorted(lifetimes, key=lambda life: (-life.uses / (life.last - life.first + 1), life.first)):
        span = free[life.first : life.last + 1]
        if span.min(initial=room) < life.bytes:
            spilled.append(life)
        else:
            span -= life.bytes
    return spilled
