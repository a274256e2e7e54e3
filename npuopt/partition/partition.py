"""From a graph and a target to a plan: what the device runs, what the host runs, in which order and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.partition.cutting import draft_parts, finish, passed_through
from npuopt.partition.edge import BESIDE, edge_nodes, index_nodes, read_by_edge_only
from npuopt.partition.flow import Flow
from npuopt.partition.head import head_members, split_off
from npuopt.partition.macs import macs
from npuopt.partition.plan import Placement, Plan
from npuopt.partition.regions import find_regions
from npuopt.partition.shards import sharded
from npuopt.target.views import converts, form_of, is_float

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.partition.cutting import Draft
    from npuopt.partition.plan import Part, Where
    from npuopt.partition.regions import Region
    from npuopt.target import Target

    Reasons = dict[int, tuple[str, ...]]

MIN_NODES = 3
MIN_MACS = 100_000
"""A region of fewer computing nodes than MIN_NODES and fewer multiply-accumulates than MIN_MACS goes to the host, if
the host has work anyway: one processor core does that much in the tens of microseconds that handing over takes."""


HEAD = "head"
"""The name of the part that makes an output last, where it is asked for; `head-1` and so on where it takes several."""


def partition(
    model: Model,
    target: Target,
    scheme: str | None = None,
    *,
    min_nodes: int = MIN_NODES,
    min_macs: int = MIN_MACS,
    head: str = "",
) -> Plan:
    """Split the main graph into convex regions for `target` and parts for the host.

    QuantizeLinear and DequantizeLinear nodes belong to the regions they serve; those where a region begins or ends
    are counted apart, since the host computes them. So are index arithmetic and embedding lookups ahead of the first
    region, where the target refuses them. A node with subgraphs goes to the host whole. A node that the target
    refuses in `scheme` and takes in its float scheme is taken. Regions of more weights than the target takes at once
    are cut into shards.

    Args:
        model: types and shapes known. With Q/DQ nodes in it, every node is judged as it is quantized.
        target: decides about each node.
        scheme: what float nodes of a model without Q/DQ are, or will be, computed in; the float scheme when None.
        min_nodes: see MIN_NODES.
        min_macs: see MIN_MACS.
        head: an output whose last product, with all behind it, becomes a part of its own, called HEAD; none if empty.

    Raises:
        PlacementError: when the weights of one node are more than the target takes in a region.
        UsageError: when nothing can be cut off as the head.
    """
    flow = Flow(model)
    quantized = any(converts(node) for node in flow.nodes)
    reasons: Reasons = {
        index: why for index, node in flow.computing.items() if (why := _refusals(node, target, scheme, quantized))
    }
    candidates = index_nodes(flow)
    reasons.update(dict.fromkeys(read_by_edge_only(flow, candidates, reasons), (BESIDE,)))
    regions = _worthwhile_regions(flow, reasons, min_nodes, min_macs)
    last = head_members(flow, head) if head else frozenset[int]()
    regions = sharded(flow, split_off(regions, last), target, scheme)
    drafts = draft_parts(flow, regions)
    parts = _named(flow, drafts, last)
    on_device = {index for region in regions if region.kind == "npu" for index in region.members}
    ahead = edge_nodes(flow, candidates, on_device)
    placements = _placements(flow, drafts, parts, reasons, ahead)
    through = passed_through(flow)
    return Plan((*parts, through) if through else parts, placements)


def _refusals(node: Node, target: Target, scheme: str | None, quantized: bool) -> tuple[str, ...]:
    """Return why the device does not take `node`, neither in `scheme` nor in its float scheme."""
    in_float = target.float_scheme
    left_in_float = quantized and form_of(node) == "plain" and any(is_float(value) for value in _tensors(node))
    if left_in_float and in_float is None:
        return (f"it is left in float, and {target.name} computes in {', '.join(target.schemes)} only",)
    verdict = target.accepts(node, in_float if left_in_float else scheme)
    if not verdict and in_float not in (None, scheme) and target.accepts(node, in_float):
        return ()
    return verdict.reasons


def _tensors(node: Node) -> list[Value]:
    return [value for value in (*node.inputs, *node.outputs) if value is not None]


def _worthwhile_regions(flow: Flow, reasons: Reasons, min_nodes: int, min_macs: int) -> list[Region]:
    """Cut the graph, hand the regions that are too small to the host, and cut again until none is left."""
    graph = flow.graph()
    work = {index: macs(node) for index, node in flow.computing.items()}
    while True:
        regions = find_regions(graph, set(flow.computing) - set(reasons))
        small = [
            region
            for region in regions
            if region.kind == "npu"
            and len(region.members) < min_nodes
            and sum(work[index] for index in region.members) < min_macs
        ]
        if not small or not reasons:
            return regions
        for region in small:
            size = f"{len(region.members)} node(s) and {sum(work[index] for index in region.members)} MACs"
            why = f"accepted, but its region of {size} is below {min_nodes} nodes and {min_macs} MACs"
            reasons.update(dict.fromkeys(region.members, (why,)))


def _named(flow: Flow, drafts: list[Draft], last: frozenset[int]) -> tuple[Part, ...]:
    """Name the parts by their kinds, or as the head, and number them; the first part of the head has no number."""
    counts = {"npu": 0, "host": 0, HEAD: 0}
    parts: list[Part] = []
    for draft in drafts:
        stem = HEAD if last and last.issuperset(draft.region.members) else draft.region.kind
        name = HEAD if stem == HEAD and not counts[HEAD] else f"{stem}-{counts[stem]}"
        parts.append(finish(flow, draft, name))
        counts[stem] += 1
    return tuple(parts)


def _placements(
    flow: Flow, drafts: list[Draft], parts: tuple[Part, ...], reasons: Reasons, ahead: frozenset[int]
) -> tuple[Placement, ...]:
    """Say for each node of the main graph where it went. A Q/DQ node in several parts counts where it is innermost.

    Args:
        flow: the graph.
        drafts: of the parts.
        parts: of the graph.
        reasons: why nodes are not on the device.
        ahead: nodes of the host edge.
    """
    where: dict[Node, tuple[Where, str]] = {}
    for draft, part in zip(drafts, parts, strict=True):
        for index in draft.region.members:
            where[flow.nodes[index]] = ("edge" if index in ahead else draft.region.kind, part.name)
        at_edge: Where = "edge" if part.kind == "npu" else "host"
        for node in draft.edge:
            if where.get(node, ("host", ""))[0] == "host":
                where[node] = (at_edge, part.name)
    for draft, part in zip(drafts, parts, strict=True):
        for node in draft.inner:
            if where.get(node, ("host", ""))[0] != "npu":
                where[node] = (part.kind, part.name)
    placements: list[Placement] = []
    for index, node in enumerate(flow.nodes):
        kind, name = where.get(node, ("host", ""))
        why = reasons.get(index, ()) if name else ("nobody reads what it makes",)
        placements.append(Placement(node, kind, name, why, macs(node)))
    return tuple(placements)
