"""Parts of a graph that compute the same in any order of axes, and how many Transposes each order needs around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import input_at, is_constant, is_op, producer, rank, static_shape, users
from npuopt.passes.layout.forms import data_inputs
from npuopt.passes.layout.orders import Order, composed, inverse, is_identity, moves_data, order_of

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
            if (turn := _entering(value, order, inside)) is not None:
                every += 1
                moving += turn
        for value in self.made():
            turns = _leaving(value, order, inside)
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


def _entering(value: Value, order: Order, inside: set[Node]) -> bool | None:
    """Say whether the Transpose that the region needs to have `value` in `order` moves data; None: it needs none.

    One that others read as well is there anyhow.
    """
    turner = producer(value, "Transpose")
    turn = order_of(turner)
    if turner is None or turn is None:
        return None if is_identity(order) else moves_data(order, static_shape(value))
    if is_identity(order) and (_outside(value, inside) or value.is_graph_output()):
        return None
    whole = composed(turn, order)
    return None if is_identity(whole) else moves_data(whole, static_shape(turner.inputs[0]))


def _leaving(value: Value, order: Order, inside: set[Node]) -> list[bool]:
    """Say of each Transpose that brings `value` to those who read it outside the region whether it moves data."""
    turns, others = leaving(value, inside)
    back = inverse(order)
    needed = {composed(back, turn) for turn in turns.values()} | ({back} if others else set[Order]())
    shape = static_shape(value)
    reordered = None if shape is None else [shape[axis] for axis in order]
    return [moves_data(turn, reordered) for turn in needed if not is_identity(turn)]


def leaving(value: Value, inside: set[Node]) -> tuple[dict[Node, Order], bool]:
    """Return the Transposes beside it that read what a region makes, and whether anybody else outside does."""
    maker = value.producer()
    outside = _outside(value, inside)
    turns = {
        node: turn
        for node in outside
        if is_op(node, "Transpose") and maker is not None and node.graph is maker.graph and (turn := order_of(node))
    }
    return turns, value.is_graph_output() or len(turns) < len(outside)


def _outside(value: Value, inside: set[Node]) -> list[Node]:
    """List the readers outside the region; a Transpose that the region alone reads is none."""
    return [node for node in users(value) if node not in inside and not _is_inner(node, inside)]


def _is_inner(node: Node, inside: set[Node]) -> bool:
    if not is_op(node, "Transpose") or node.outputs[0].is_graph_output():
        return False
    readers = users(node.outputs[0])
    return bool(readers) and all(reader in inside for reader in readers)
