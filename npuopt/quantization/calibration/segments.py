"""Cuts a model into stretches that run one after the other, at its narrow points."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import is_constant, static_shape
from npuopt.graph.regions import values_read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from npuopt.graph import Model, Node, Value


@dataclass(frozen=True)
class Segment:
    """Nodes that follow each other in the main graph.

    Attributes:
        nodes: in order.
        inputs: what they read that they do not make: graph inputs, and what earlier segments make.
        outputs: what they make and later segments read.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def cut_segments(model: Model, cost: Callable[[Node], float], limit: float) -> list[Segment]:
    """Cut the main graph into as few segments as needed that cost at most `limit` each, or consist of one node.

    Each cut is made at the narrowest point of the last half of what would fit: where the fewest bytes cross.

    Args:
        model: its nodes are in an order in which they can run; it stays as it is.
        cost: of a node, 0 or more.
        limit: of the sum over a segment.
    """
    nodes = list(model.graph)
    costs = [cost(node) for node in nodes]
    crossing = _crossing(nodes)
    bounds = [0]
    start, total = 0, 0.0
    for index, spent in enumerate(costs):
        total += spent
        if total > limit and index > start:
            sums = np.cumsum(np.asarray(costs[start:index], np.float64))
            earliest = start + 1 + int(np.searchsorted(sums, float(sums[-1]) / 2))
            candidates = range(min(earliest, index), index + 1)
            start = min(candidates, key=lambda at: (crossing[at], -at))
            bounds.append(start)
            total = sum(costs[start : index + 1])
            if total > limit and index > start:  # the narrow point left too much behind it
                bounds.append(index)
                start, total = index, spent
    bounds.append(len(nodes))
    return [_segment(nodes, first, last) for first, last in pairwise(bounds) if first < last]


def weight_bytes(node: Node) -> int:
    """Return how large the constants are that the node reads, those of its subgraphs included."""
    constants = (value.const_value for value in values_read(node) if is_constant(value))
    return sum(tensor.nbytes for tensor in constants if tensor is not None)


def _crossing(nodes: Sequence[Node]) -> list[int]:
    """Return, for each position, the bytes that nodes ahead of it make and nodes from it on read."""
    made = {value: index for index, node in enumerate(nodes) for value in node.outputs}
    last = dict[int, int]()
    values = {id(value): value for value in made}
    for index, node in enumerate(nodes):
        for value in values_read(node):
            if id(value) in values:
                last[id(value)] = index
    change = np.zeros(len(nodes) + 2, np.int64)
    for key, index in last.items():
        size = 4 * int(np.prod(static_shape(values[key]) or (1,), dtype=np.int64))
        change[made[values[key]] + 1] += size
        change[index + 1] -= size
    return np.cumsum(change).tolist()


def _segment(nodes: Sequence[Node], first: int, last: int) -> Segment:
    inside = nodes[first:last]
    made = {value for node in inside for value in node.outputs}
    read = dict.fromkeys(value for node in inside for value in values_read(node))
    later = {value for node in nodes[last:] for value in values_read(node)}
    inputs = [value for value in read if value not in made and not is_constant(value)]
    outputs = [value for node in inside for value in node.outputs if value in later]
    return Segment(tuple(inside), tuple(inputs), tuple(outputs))
