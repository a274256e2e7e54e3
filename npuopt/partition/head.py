"""Cuts what makes an output last off the regions it lies in: a language model's head, which not every run needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.errors import UsageError
from npuopt.partition.macs import macs
from npuopt.partition.regions import Region

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from npuopt.partition.flow import Flow


def head_members(flow: Flow, output: str) -> frozenset[int]:
    """Return the last products that an output is made of, and all computing nodes behind them.

    Raises:
        UsageError: when the output is made without products, or another output is made behind them too.
    """
    value = next(value for value in flow.model.graph.outputs if value.name == output)
    graph = flow.graph()
    pending, found = [flow.maker(flow.origin(value)[0])], set[int]()
    products: set[int] = set()
    while pending:
        index = pending.pop()
        if index is None or index in found:
            continue
        found.add(index)
        if macs(flow.nodes[index]):
            products.add(index)
        else:
            pending += graph.predecessors(index)
    behind = set(products)
    for index in sorted(graph):  # in graph order, so all that a node reads is known ahead of it
        if behind.intersection(graph.predecessors(index)):
            behind.add(index)
    made = {flow.maker(flow.origin(other)[0]): other.name for other in flow.model.graph.outputs if other is not value}
    strays = [name for index, name in made.items() if index in behind]
    if not products or strays:
        why = f"{strays[0]!r} is made behind its products too" if strays else "no product makes it"
        raise UsageError(f"output {output!r} has no head of its own: {why}", hint="leave out --head region")
    return frozenset(behind)


def split_off(regions: Sequence[Region], members: Collection[int]) -> list[Region]:
    """Return the regions, those cut in two that have some of the members and others: what they need runs ahead.

    Args:
        regions: in an order in which they can run.
        members: nodes of which no other node needs what they make.
    """
    found: list[Region] = []
    for region in regions:
        inside = tuple(index for index in region.members if index in members)
        rest = tuple(index for index in region.members if index not in members)
        found += [Region(region.kind, region.stage, group) for group in (rest, inside) if group]
    return found
