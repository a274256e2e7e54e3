"""What partition returns: parts in the order they run, where each node went and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from npuopt.graph import Node, Value

Kind = Literal["npu", "host"]
Where = Literal["npu", "host", "edge"]
"""edge: what the host computes for a region on purpose: a QuantizeLinear or DequantizeLinear where the region begins or
ends, index arithmetic and embedding lookups ahead of it."""


@dataclass(frozen=True)
class Part:
    """One step of execution: a region for the NPU, or a part of the rest for the host.

    Attributes:
        name: unique, fit for a file name.
        kind: who runs it.
        nodes: in graph order. QuantizeLinear and DequantizeLinear nodes may belong to several parts.
        input_values: what it reads that other parts or the caller provide: graph inputs first, in their order.
        output_values: what it makes that others read: graph outputs first, in their order.
        requantize: inputs that another region made and dequantized, as the DequantizeLinear that did; the region
            quantizes them again in the same way, which loses nothing.
        macs: multiply-accumulates of all its nodes.
    """

    name: str
    kind: Kind
    nodes: tuple[Node, ...]
    input_values: tuple[Value, ...]
    output_values: tuple[Value, ...]
    requantize: tuple[Node, ...] = ()
    macs: int = 0

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(value.name or "" for value in self.input_values)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(value.name or "" for value in self.output_values)


@dataclass(frozen=True)
class Placement:
    """Where one node went.

    Attributes:
        node: the node.
        where: npu, host or edge.
        part: name of the part that has it, or an empty string where nobody reads what it makes.
        reasons: why it is not on the NPU; empty where it is.
        macs: its multiply-accumulates.
    """

    node: Node
    where: Where
    part: str
    reasons: tuple[str, ...] = ()
    macs: int = 0


@dataclass(frozen=True)
class Summary:
    """Counts of nodes. `edge` nodes are in neither `npu` nor `host`.

    Attributes:
        npu_fraction: npu / (npu + host); 1 where there is neither.
        npu_mac_fraction: share of the multiply-accumulates; of the nodes where there are none.
    """

    nodes: int
    npu: int
    host: int
    edge: int
    npu_fraction: float
    npu_mac_fraction: float


@dataclass(frozen=True)
class Plan:
    """How a model is cut: `parts` in an order in which they can run, a placement for every node of the main graph."""

    parts: tuple[Part, ...]
    placements: tuple[Placement, ...]

    @property
    def regions(self) -> tuple[Part, ...]:
        """The parts that go to the NPU."""
        return tuple(part for part in self.parts if part.kind == "npu")

    @property
    def summary(self) -> Summary:
        """The counts."""
        counts = dict.fromkeys(("npu", "host", "edge"), 0)
        work = dict.fromkeys(("npu", "host", "edge"), 0)
        for placement in self.placements:
            counts[placement.where] += 1
            work[placement.where] += placement.macs
        placed, total = counts["npu"] + counts["host"], work["npu"] + work["host"]
        fraction = counts["npu"] / placed if placed else 1.0
        return Summary(
            nodes=len(self.placements),
            npu=counts["npu"],
            host=counts["host"],
            edge=counts["edge"],
            npu_fraction=fraction,
            npu_mac_fraction=work["npu"] / total if total else fraction,
        )
