"""From regions of computing nodes to parts with inputs, outputs and the Q/DQ nodes that belong to them.

Where data crosses from one part to another it crosses as the float tensor that the model has there:
- a region that makes a quantized tensor dequantizes it at its end; the region that reads it quantizes it again, with
  the same scale and zero point, which gives back the same integers;
- what the host or the caller makes is quantized in each region that reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from npuopt.graph import is_constant
from npuopt.partition.macs import macs
from npuopt.partition.plan import Part
from npuopt.target.views import QUANTIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Node, Value
    from npuopt.partition.flow import Flow
    from npuopt.partition.regions import Region


@dataclass
class Draft:
    """A part while it is put together.

    Attributes:
        inner: Q/DQ nodes between two computing nodes of this part, or between a constant and one.
        edge: Q/DQ nodes where data enters or leaves.
    """

    region: Region
    inputs: dict[Value, None] = field(default_factory=dict["Value", None])
    outputs: dict[Value, None] = field(default_factory=dict["Value", None])
    inner: dict[Node, None] = field(default_factory=dict["Node", None])
    edge: dict[Node, None] = field(default_factory=dict["Node", None])
    requantize: dict[Node, None] = field(default_factory=dict["Node", None])


def draft_parts(flow: Flow, regions: Sequence[Region]) -> list[Draft]:
    """Find out for each region what crosses its border."""
    drafts = [Draft(region) for region in regions]
    draft_of = {index: draft for draft in drafts for index in draft.region.members}
    for index, values in flow.reads.items():
        for value in values:
            _connect(flow, draft_of, draft_of[index], value)
    for value in flow.model.graph.outputs:
        origin, chain = flow.origin(value)
        maker = flow.maker(origin)
        if maker is not None:
            draft_of[maker].edge.update(dict.fromkeys(chain))
            draft_of[maker].outputs[value] = None
    return drafts


def _connect(flow: Flow, draft_of: dict[int, Draft], reader: Draft, value: Value) -> None:
    """Let `reader` have `value`, which one of its nodes reads."""
    origin, chain = flow.origin(value)
    maker = flow.maker(origin)
    owner = draft_of[maker] if maker is not None else None
    if is_constant(origin) or owner is reader:
        reader.inner.update(dict.fromkeys(chain))
        return
    ahead = _made_by_region(chain) if owner is not None and owner.region.kind == "npu" else ()
    crossing = ahead[-1].outputs[0] if ahead else origin
    rest = chain[len(ahead) :]
    reader.inputs[crossing] = None
    reader.edge.update(dict.fromkeys(rest))
    if owner is not None:
        owner.edge.update(dict.fromkeys(ahead))
        owner.outputs[crossing] = None
    if reader.region.kind == "npu" and len(ahead) == 2 and not rest:
        reader.requantize[ahead[-1]] = None


def _made_by_region(chain: tuple[Node, ...]) -> tuple[Node, ...]:
    """Return the start of a chain that stays with the region that made its origin: a quantize-dequantize pair."""
    if not chain or chain[0].op_type != QUANTIZE:
        return ()
    return chain[:1] if len(chain) == 1 or chain[1].op_type == QUANTIZE else chain[:2]


def finish(flow: Flow, draft: Draft, name: str) -> Part:
    """Turn a draft into a part."""
    graph = flow.model.graph
    places = {value: place for place, value in enumerate((*graph.inputs, *graph.outputs))}
    last = len(places) + len(flow.nodes)

    def place(value: Value) -> tuple[int, int]:
        maker = value.producer()
        return places.get(value, last), -1 if maker is None else flow.index_of[maker]

    members = [flow.nodes[index] for index in draft.region.members]
    nodes = sorted({*members, *draft.inner, *draft.edge}, key=flow.index_of.__getitem__)
    return Part(
        name=name,
        kind=draft.region.kind,
        nodes=tuple(nodes),
        input_values=tuple(sorted(draft.inputs, key=place)),
        output_values=tuple(sorted(draft.outputs, key=place)),
        requantize=tuple(draft.requantize),
        macs=sum(macs(node) for node in members),
    )


def passed_through(flow: Flow) -> Part | None:
    """Return a host part for graph outputs that no computing node makes, or None when there are none."""
    inputs: dict[Value, None] = {}
    nodes: dict[Node, None] = {}
    outputs: list[Value] = []
    for value in flow.model.graph.outputs:
        origin, chain = flow.origin(value)
        if flow.maker(origin) is None:
            outputs.append(value)
            nodes.update(dict.fromkeys(chain))
            if not is_constant(origin):
                inputs[origin] = None
    if not outputs:
        return None
    return Part("host-through", "host", tuple(nodes), tuple(inputs), tuple(outputs))
