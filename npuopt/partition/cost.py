"""A roofline estimate of what a region takes: each node is bound by its multipliers, its scratchpad or its DRAM.

Figures are for choosing and comparing; what a device really takes is measured on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING, Literal, TypeVar

from npuopt.graph import qualified_op_type, static_shape
from npuopt.partition.layers import layer_of
from npuopt.partition.macs import macs
from npuopt.partition.memory_plan import plan_memory
from npuopt.partition.merging import merged_layers
from npuopt.partition.storage import Storage
from npuopt.target.performance import Block

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from npuopt.graph import Node
    from npuopt.partition.layers import Layer
    from npuopt.partition.memory_plan import MemoryPlan
    from npuopt.partition.plan import Part
    from npuopt.partition.storage import Buffer
    from npuopt.target import Target
    from npuopt.target.constraints import DataTypeName
    from npuopt.target.schema import Scheme

Figure = TypeVar("Figure")
Bound = Literal["compute", "scratchpad", "dram"]


@dataclass(frozen=True)
class NodeCost:
    """What one node takes, and what is merged with it.

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
    figure that is not there bounds nothing. Compute is multiply-adds, the decoding of weights or the writing of
    results, whichever is longer; ops that a target merges with a layer add their further operands to its traffic. DRAM
    traffic is bytes or the reading of scales and biases, whose latency a descriptor may give.
    Weights come from DRAM once; where the operands do not fit into the scratchpad together, the smaller one stays
    in half of it, piece by piece, and the larger one is read again for each piece.

    Args:
        part: the region.
        target: its `performance` and `memory` are used.
        scheme: see `plan_memory`.
    """
    speed = target.performance
    rate = _of_scheme(speed.macs_per_cycle, target.scheme(scheme))
    if speed.clock_mhz is None or rate is None:
        return None
    memory = plan_memory(part, target, scheme)
    if memory is None:
        return None
    storage = Storage(part.nodes, target, scheme)
    meter = _Meter(target, storage, memory, rate, _of_scheme(speed.multiplied, target.scheme(scheme)) or Block())
    layers = merged_layers(storage.computing(part.nodes), storage, speed.merged, part.output_values)
    nodes = tuple(meter.cost(node, merged) for node, merged in layers.items())
    return RegionCost(sum(node.seconds for node in nodes), nodes, memory)


@dataclass(frozen=True)
class _Meter:
    target: Target
    storage: Storage
    memory: MemoryPlan
    rate: float
    block: Block

    def cost(self, node: Node, merged: Sequence[Node]) -> NodeCost:
        speed = self.target.performance
        layer = layer_of(node, self.storage)
        channels = 0.0 if layer is None else layer.channel_cycles(speed)
        clock = (speed.clock_mhz or 1.0) * 1e6
        weights = sum(self.storage.weight_bytes(one) for one in (node, *merged))
        buffers = self._buffers(node, merged)
        dram = self._dram_bytes(weights, buffers)
        moved = sum(buffer.bytes for buffer in buffers) + weights
        times: dict[Bound, float] = {
            "compute": self._cycles(node, layer) / clock,
            "scratchpad": moved / ((speed.scratchpad_gb_per_s or 1e9) * 1e9),
            "dram": max(dram / ((speed.dram_gb_per_s or 1e9) * 1e9), channels / clock),
        }
        bound = max(times, key=lambda name: times[name])
        return NodeCost(node.name or node.outputs[0].name or "", times[bound], bound, macs(node), dram)

    def _cycles(self, node: Node, layer: Layer | None) -> float:
        speed = self.target.performance
        work = macs(node)
        vector = speed.elements_per_cycle
        rate = self.rate if self.storage.weight_bytes(node) else speed.runtime_macs_per_cycle or self.rate
        cycles = work / rate if work or vector is None else self._elements(node) / vector
        cycles += self._elements(node) * speed.cycles_per_element.get(qualified_op_type(node), 0.0)
        if layer is None:
            return cycles
        return max(
            layer.multiplying_cycles(self.block, speed.depthwise_channels) or cycles,
            layer.decoding_cycles(speed),
            layer.writing_cycles(self.block, speed),
        )

    def _buffers(self, node: Node, merged: Sequence[Node]) -> list[Buffer]:
        """Return what is read or written: not what merged ops are handed, which is never written."""
        nodes = (node, *merged)
        inner = {one.outputs[0].name for one in nodes[:-1]}
        values = [value for one in nodes for value in (*one.inputs, *one.outputs) if value is not None]
        held = (self.storage.buffer(value) for value in values)
        return list({found.name: found for found in held if found is not None and found.name not in inner}.values())

    def _dram_bytes(self, weights: int, buffers: list[Buffer]) -> int:
        away = sum(buffer.bytes for buffer in buffers if buffer.name in self.memory.spilled)
        size = self.target.memory.scratchpad_kib
        if size is None or not (weights and away):
            return weights + away
        half = size * 1024 / 2
        # one operand stays, a piece at a time, while the other streams by once for each piece
        return int(min(weights + away * max(ceil(weights / half), 1), away + weights * max(ceil(away / half), 1)))

    def _elements(self, node: Node) -> int:
        return sum(prod(static_shape(value) or (0,)) for value in node.outputs)


def _of_scheme(figures: Mapping[DataTypeName, Figure], scheme: Scheme) -> Figure | None:
    """Return a scheme's figure: that of its activation type, or else of its weights."""
    for name, figure in figures.items():
        if name in (scheme.activation, scheme.activation.removeprefix("u")):
            return figure
    return next((figure for name, figure in figures.items() if name == scheme.weight), None)
