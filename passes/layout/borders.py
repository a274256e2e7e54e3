"""The Transposes at the border of a part of a graph, for data in any order of axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import is_op, producer, static_shape, users
from npuopt.passes.layout.orders import Order, composed, inverse, is_identity, moves_data, order_of

if TYPE_CHECKING:
    from npuopt.graph import Node, Value


def entering(value: Value, order: Order, inside: set[Node]) -> bool | None:
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


def turns_leaving(value: Value, order: Order, inside: set[Node]) -> list[bool]:
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
