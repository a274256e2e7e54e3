"""Parts of a graph that compute the same in any order of axes, and how many Transposes each order needs around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import input_at, is_constant, is_op, producer, rank, users
from npuopt.passes.layout.borders import entering, leaving, turns_leaving
from npuopt.passes.layout.forms import data_inputs
from npuopt.passes.layout.orders import Order, inverse, order_of

if TYPE_CHECKING:
    from npuopt.graph import Graph, Node, Value


@dataclass(frozen=True)
class Region:
    """Nodes of one graph, connected by values of `rank` axes, in graph order."""

    nodes: tuple[Node, ...]
    rank: int

    def made(self) -> list[Value]:
        """Return what the region makes."""
        return [output for node in self.nodes for output in node.outputs if output.name]

    def read(self) -> list[Value]:
        """Return the data that the region reads and does not make, constants left out."""
        inside = set(self.nodes)
        values = (node.inputs[index] for node in self.nodes for index in data_inputs(node))
        return list(
            dict.fromkeys(
                value
                for value in values
                if value is not None and not is_constant(value) and value.producer() not in inside
            )
        )

    def cost(self, order: Order) -> tuple[int, int]:
        """Count the Transposes at the region's border once its data is in `order`: those that move data, and all."""
        inside = set(self.nodes)
        moving, every = 0, 0
        for value in self.read():
            if (turn := entering(value, order, inside)) is not None:
                every += 1
                moving += turn
        for value in self.made():
            turns = turns_leaving(value, order, inside)
            every += len(turns)
            moving += sum(turns)
        return moving, every

    def orders(self) -> list[Order]:
        """List the orders in which a Transpose at the border would be none; others can only need more."""
        inside = set(self.nodes)
        found = [inverse(turn) for value in self.read() if (turn := order_of(producer(value, "Transpose")))]
        for value in self.made():
            found += leaving(value, inside)[0].values()
        return [order for order in dict.fromkeys(found) if order != tuple(range(self.rank))]


def find_regions(graph: Graph) -> list[Region]:
    """Return the regions that a Transpose borders on: each node that can be in one is in at most one."""
    places = {node: place for place, node in enumerate(graph)}
    seen: set[Node] = set()
    regions: list[Region] = []
    for node in places:
        for start in _neighbours(node) if is_op(node, "Transpose") else ():
            if start in seen or start not in places or not _is_flexible(start):
                continue
            members = _grown(start, places)
            seen |= members
            ordered = sorted(members, key=places.__getitem__)
            regions.append(Region(tuple(ordered), rank(ordered[0].outputs[0]) or 0))
    return regions


def _neighbours(transpose: Node) -> list[Node]:
    maker = producer(input_at(transpose, 0))
    return [*([maker] if maker is not None else []), *users(transpose.outputs[0])]


def _grown(start: Node, places: dict[Node, int]) -> set[Node]:
    """Return the nodes of the graph that values of data connect with `start`."""
    members, pending = {start}, [start]
    while pending:
        node = pending.pop()
        makers = [producer(node.inputs[index]) for index in data_inputs(node)]
        readers = [use.node for value in node.outputs for use in value.uses() if use.idx in data_inputs(use.node)]
        for other in (*makers, *readers):
            if other is not None and other not in members and other in places and _is_flexible(other):
                members.add(other)
                pending.append(other)
    return members


def _is_flexible(node: Node) -> bool:
    """Say whether all data of the node has one rank; constants may have less, and are brought to it."""
    depth = rank(node.outputs[0]) if node.domain in ("", "ai.onnx") else None
    if depth is None or depth < 2 or not len(data_inputs(node)):
        return False
    ranks = {rank(value) for value in node.outputs if value.name}
    for index in data_inputs(node):
        value = node.inputs[index]
        if value is not None and not is_constant(value):
            ranks.add(rank(value))
    return ranks == {depth}
