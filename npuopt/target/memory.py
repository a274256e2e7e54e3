"""The part of the schema that says what memory a chip has, and how its compiler lays tensors out in it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from npuopt.target.constraints import Facts


class Memory(Facts):
    """Sizes in KiB."""

    scratchpad_kib: int | None = Field(default=None, ge=1, description="On-chip memory under the compiler's control.")
    ends: Literal["scratchpad", "dram"] = Field(
        default="scratchpad", description="Where inputs and outputs of a region lie; dram: never in the scratchpad."
    )
    handover: Literal["scratchpad", "dram"] = Field(
        default="scratchpad",
        description="Where tensors between layers lie; dram: each layer reads from there and writes there.",
    )
    max_region_kib: int | None = Field(
        default=None,
        ge=1,
        description="Weights that one compiled region may hold; larger regions are cut into shards that run in turn.",
    )
    temporaries: dict[str, int] = Field(
        default={},
        description="Op -> bytes that it takes beside operands and result while it runs, for each element of it.",
    )
    order: Literal["graph", "depth-first"] = Field(
        default="graph", description="In which nodes run; depth-first: branch by branch, the last operand's first."
    )
    batch_weights: bool = Field(
        default=False, description="A convolution of many images keeps its weights in the scratchpad for all of them."
    )
    concat_in_place: bool = Field(
        default=False, description="What a Concat alone reads is written into its result as it is made."
    )
    copied_inputs: dict[str, tuple[int, ...]] = Field(
        default={}, description="Op -> run-time inputs read from a transposed copy, made as soon as they are there."
    )
    source: str | None = None
