"""A roofline estimate of what a region takes: each node is bound by its multipliers, its scratchpad or its DRAM.

Figures are for choosing and comparing; what a device really takes is measured on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING, Literal

from npuopt.graph import qualified_op_type, static_shape
from npuopt.partition.layers import layer_of
from npuopt.partition.macs import macs
from npuopt.partition.memory_plan import plan_memory
from npuopt.partition.storage import Storage

if TYPE_CHECKING:
    from npuopt.graph import Node
    from npuopt.partition.memory_plan import MemoryPlan
    from npuopt.partition.plan import Part
    from npuopt.partition.storage import Buffer
    from npuopt.target import Target
    from npuopt.target.performance import Performance
    from npuopt.target.schema import Scheme

Bound = Literal["compute", "scratchpad", "dram"]


@dataclass(frozen=True)
class NodeCost:
    """What one node takes.

    Attributes:
        name: the node's.
        seconds: the longest of the three.
        bound: which of them it is.
        macs: multiply-accumulates.
        dram_bytes: moved to and from DRAM: weights, and tensors that do not fit on the chip.
    """

    name: str
    seconds: float
    bound: Bound
    macs: int
    dram_bytes: int


@dataclass(frozen=True)
class RegionCost:
    """What one region takes: seconds in sum, and the plan of its memory."""

    seconds: float
    nodes: tuple[NodeCost, ...]
    memory: MemoryPlan


def estimate(part: Part, target: Target, scheme: str) -> RegionCost | None:
    """Estimate a region's time and memory; None where a shape is free or the descriptor does not say how fast it is.

    For each node: time = max(compute, scratchpad traffic, DRAM traffic), each from the descriptor's `performance`; a
    figure that is not there bounds nothing. Compute is multiply-adds or the decoding of weights, whichever is longer;
    DRAM traffic is bytes or the reading of scales and biases, whose latency a descriptor may give.
    Weights come from DRAM once; where the operands do not fit into the scratchpad together, the smaller one stays
    in half of it, piece by piece, and the larger one is read again for each piece.

    Args:
        part: the region.
        target: its `performance` and `memory` are used.
        scheme: see `plan_memory`.
    """
    speed = target.performance
    rate = _macs_per_cycle(speed, target.scheme(scheme))
    if speed.clock_mhz is None or rate is None:
        return None
    memory = plan_memory(part, target, scheme)
    if memory is None:
        return None
    storage = Storage(part.nodes, target, scheme)
    meter = _Meter(target, storage, memory, rate)
    nodes = tuple(meter.cost(node) for node in storage.computing(part.nodes))
    return RegionCost(sum(node.seconds for node in nodes), nodes, memory)


@dataclass(frozen=True)
class _Meter:
    target: Target
    storage: Storage
    memory: MemoryPlan
    rate: float

    def cost(self, node: Node) -> NodeCost:
        speed = self.target.performance
        work = macs(node)
        vector = speed.elements_per_cycle
        rate = self.rate if self.storage.weight_bytes(node) else speed.runtime_macs_per_cycle or self.rate
        cycles = work / rate if work or vector is None else self._elements(node) / vector
        cycles += self._elements(node) * speed.cycles_per_element.get(qualified_op_type(node), 0.0)
        layer = layer_of(node, self.storage)
        decoding = 0.0 if layer is None else layer.decoding_cycles(speed)
        channels = 0.0 if layer is None else layer.channel_cycles(speed)
        clock = (speed.clock_mhz or 1.0) * 1e6
        values = [value for value in (*node.inputs, *node.outputs) if value is not None]
        held = {found.name: found for value in values if (found := self.storage.buffer(value)) is not None}
        moved = sum(buffer.bytes for buffer in held.values())
        dram = self._dram_bytes(node, list(held.values()))
        times: dict[Bound, float] = {
            "compute": max(cycles, decoding) / clock,
            "scratchpad": (moved + self.storage.weight_bytes(node)) / ((speed.scratchpad_gb_per_s or 1e9) * 1e9),
            "dram": max(dram / ((speed.dram_gb_per_s or 1e9) * 1e9), channels / clock),
        }
        bound = max(times, key=lambda name: times[name])
        return NodeCost(node.name or node.outputs[0].name or "", times[bound], bound, work, dram)

    def _dram_bytes(self, node: Node, buffers: list[Buffer]) -> int:
        weights = self.storage.weight_bytes(node)
        away = sum(buffer.bytes for buffer in buffers if buffer.name in self.memory.spilled)
        size = self.target.memory.scratchpad_kib
        if size is None or not (weights and away):
            return weights + away
        half = size * 1024 / 2
        # one operand stays, a piece at a time, while the other streams by once for each piece
        return int(min(weights + away * max(ceil(weights / half), 1), away + weights * max(ceil(away / half), 1)))

    def _elements(self, node: Node) -> int:
        return sum(prod(static_shape(value) or (0,)) for value in node.outputs)


def _macs_per_cycle(speed: Performance, scheme: Scheme) -> float | None:
    """Return the rate of a scheme: that of its activation type, or else of its weights."""
    for name in (scheme.activation, scheme.activation.removeprefix("u"), scheme.weight or ""):
        if name in speed.macs_per_cycle:
            return speed.macs_per_cycle[name]
    return None
