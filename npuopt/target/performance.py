"""The part of the schema that says how fast a chip is."""

from __future__ import annotations

from pydantic import Field

from npuopt.target.constraints import DataTypeName, Facts


class Block(Facts):
    """What a layer with weights is computed in; blocks at the edge count as full ones."""

    positions: int | None = Field(default=None, ge=1, description="Of the result; all of them, if not given.")
    inputs: int = Field(default=1, ge=1, description="Input channels.")
    outputs: int = Field(default=1, ge=1, description="Output channels.")


class Performance(Facts):
    """Figures for estimates, never for claims."""

    clock_mhz: float | None = Field(default=None, gt=0)
    macs_per_cycle: dict[DataTypeName, float] = Field(
        default={}, description="Element type -> multiply-adds in a cycle."
    )
    multiplied: dict[DataTypeName, Block] = Field(
        default={},
        description="Element type -> what layers with weights are multiplied in, a position in a cycle; not given:"
        " as many multiply-adds as there are.",
    )
    depthwise_channels: int | None = Field(
        default=None, ge=1, description="Channels of a depthwise convolution that are multiplied in a cycle."
    )
    results_per_cycle: float | None = Field(
        default=None, gt=0, description="Results that a layer with weights writes in a cycle."
    )
    merged: tuple[str, ...] = Field(
        default=(), description="Ops computed on the results of a layer with weights before these are written."
    )
    runtime_macs_per_cycle: float | None = Field(
        default=None, gt=0, description="Multiply-adds in a cycle of products without a constant operand, if others."
    )
    elements_per_cycle: float | None = Field(
        default=None,
        gt=0,
        description="Results of element-wise ops in a cycle.",
    )
    cycles_per_element: dict[str, float] = Field(
        default={}, description="Op -> cycles for each element of its result, of ops that take many."
    )
    weights_per_cycle: float | None = Field(
        default=None, gt=0, description="Weights that are decoded in a cycle; all of them again for each image."
    )
    channel_cycles: float | None = Field(
        default=None, gt=0, description="Cycles to read scale and bias of an output channel, again for each block."
    )
    block: Block = Field(default=Block(), description="Of layers with weights; for the two figures above.")
    dram_gb_per_s: float | None = Field(default=None, gt=0, description="Memory bandwidth in 10^9 bytes a second.")
    scratchpad_gb_per_s: float | None = Field(
        default=None, gt=0, description="On-chip bandwidth in 10^9 bytes a second."
    )
    source: str | None = None
