"""What a region would take on a device, estimated from the target's descriptor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.partition import estimate, plan_memory

if TYPE_CHECKING:
    from npuopt.partition import MemoryPlan, Part
    from npuopt.target import Target


@dataclass(frozen=True)
class MemoryFigures:
    """What one region would keep in memory, in bytes.

    Attributes:
        weights: constants, as the device holds them.
        peak: most that its run-time tensors take at once.
        on_chip: most of the scratchpad that is in use at once.
        spilled: run-time tensors that live in DRAM: what does not fit into it, and what the target keeps there.
    """

    weights: int
    peak: int
    on_chip: int
    spilled: int


@dataclass(frozen=True)
class RegionFigures:
    """What one region would take, estimated.

    Attributes:
        name: the region's.
        macs: multiply-accumulates.
        memory: None where a shape is not static.
        seconds: one run; None where the descriptor does not say how fast the chip is.
    """

    name: str
    macs: int
    memory: MemoryFigures | None
    seconds: float | None


def region_figures(part: Part, chip: Target, scheme: str) -> RegionFigures:
    """Estimate what one region takes."""
    memory = plan_memory(part, chip, scheme)
    cost = estimate(part, chip, scheme)
    return RegionFigures(
        name=part.name,
        macs=part.macs,
        memory=None if memory is None else _memory(memory),
        seconds=None if cost is None else cost.seconds,
    )


def _memory(plan: MemoryPlan) -> MemoryFigures:
    return MemoryFigures(plan.weights, plan.peak, plan.on_chip, plan.spilled_bytes)
