"""Cuts a graph of accepted and refused nodes into regions that can run one after the other.

The algorithm works in stages. Along the edges a node is in the stage of its predecessors, one later wherever an edge
leads from an accepted node to a refused one or back; so stages alternate, and each is as early as it can be. Accepted
nodes of one stage that hang together are one region. A path that leaves a region has gone on to a later stage or to
nothing of this region, so every region is convex, and stages order all regions without a cycle. Regions that are
needed only later are then moved to the stage that needs them, where they merge. Linear in nodes and edges.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

import networkx as nx

if TYPE_CHECKING:
    from collections.abc import Iterable

    from npuopt.partition.plan import Kind

    Graph: TypeAlias = nx.DiGraph[int]


@dataclass(frozen=True)
class Region:
    """Nodes that run together, on the NPU or on the host."""

    kind: Kind
    stage: int
    members: tuple[int, ...]


def find_regions(graph: Graph, accepted: Collection[int]) -> list[Region]:
    """Cut an acyclic graph into NPU regions and host parts, in an order in which they can run.

    Args:
        graph: nodes are numbers in topological order.
        accepted: the nodes that may go to the NPU. Others share one host part in each stage.
    """
    kinds: dict[int, Kind] = {node: "npu" if node in accepted else "host" for node in graph}
    stages = _earliest_stages(graph, kinds)
    _sink(graph, kinds, stages)
    regions: list[Region] = []
    for stage, members in _by_stage(stages).items():
        kind = kinds[members[0]]
        groups = _components(graph, members) if kind == "npu" else [members]
        regions.extend(Region(kind, stage, tuple(group)) for group in groups)
    return regions


def _earliest_stages(graph: Graph, kinds: dict[int, Kind]) -> dict[int, int]:
    """Number the stages: even ones run on the host, odd ones on the NPU."""
    stages: dict[int, int] = {}
    for node in sorted(graph):
        stage = 1 if kinds[node] == "npu" else 0
        for before in graph.predecessors(node):
            stage = max(stage, stages[before] + (kinds[before] != kinds[node]))
        stages[node] = stage
    return stages


def _sink(graph: Graph, kinds: dict[int, Kind], stages: dict[int, int]) -> None:
    """Move groups of nodes to the stage of the first reader of their kind, if nothing needs them before."""
    for _, members in reversed(_by_stage(stages).items()):
        for group in _components(graph, members):
            inside = set(group)
            readers = {after for node in group for after in graph.successors(node)} - inside
            kind, stage = kinds[group[0]], stages[group[0]]
            latest = min((stages[after] - (kinds[after] != kind) for after in readers), default=stage)
            joins = any(kinds[after] == kind and stages[after] == latest for after in readers)
            if latest > stage and joins:
                stages.update(dict.fromkeys(group, latest))


def _by_stage(stages: dict[int, int]) -> dict[int, list[int]]:
    """List the nodes of each stage, stages and nodes in ascending order."""
    grouped: dict[int, list[int]] = {}
    for node in sorted(stages):
        grouped.setdefault(stages[node], []).append(node)
    return dict(sorted(grouped.items()))


def _components(graph: Graph, members: Iterable[int]) -> list[list[int]]:
    """Split nodes into groups that hang together, each sorted, in the order of their first nodes."""
    within = graph.subgraph(members)
    found = cast("Iterable[set[int]]", nx.weakly_connected_components(within))
    return sorted(sorted(component) for component in found)
