"""Which of a model's first nodes compute from indices alone: the host edge of a language model.

Tokens come in as integers, and what is done with them before the first float is arithmetic of positions, comparisons
for a mask, and the Gather that looks up the embeddings. Hosts do that on purpose, in microseconds, where the device
lacks it; so it is counted apart from what falls back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import DataType, element_type, is_constant, subgraphs_of
from npuopt.partition.macs import macs

if TYPE_CHECKING:
    from collections.abc import Collection

    from npuopt.graph import Value
    from npuopt.partition.flow import Flow

INDEX_TYPES = (DataType.BOOL, DataType.INT32, DataType.INT64)
BESIDE = "accepted, but only nodes of the host edge read it"


def index_nodes(flow: Flow) -> list[int]:
    """List the nodes that compute from graph inputs of integers and booleans alone, constants aside.

    What they read of each other is integers and booleans too, so that a Gather from a constant table belongs to them
    and what computes with its floats does not. Neither do integer products, and nodes with subgraphs.
    """
    found: dict[int, None] = {}
    for index, node in flow.computing.items():
        read = [value for value in flow.reads[index] if not is_constant(flow.origin(value)[0])]
        if read and not subgraphs_of(node) and not macs(node) and all(_is_index(flow, value, found) for value in read):
            found[index] = None
    return list(found)


def _is_index(flow: Flow, value: Value, found: Collection[int]) -> bool:
    maker = flow.maker(value)
    return element_type(value) in INDEX_TYPES and (maker is None or maker in found)


def read_by_edge_only(flow: Flow, candidates: list[int], refused: Collection[int]) -> list[int]:
    """List the accepted candidates whose readers are all on the host edge: the device would only hand them back."""
    readers, outputs = _readers(flow), set(flow.model.graph.outputs)
    edge = set(refused) & set(candidates)
    beside: list[int] = []
    for index in reversed(candidates):
        is_output = any(value in outputs for value in flow.nodes[index].outputs)
        if index not in edge and not is_output and readers[index] and readers[index] <= edge:
            edge.add(index)
            beside.append(index)
    return beside


def edge_nodes(flow: Flow, candidates: list[int], on_device: Collection[int]) -> frozenset[int]:
    """Return the candidates off the device from which data goes to the device, through others of them or at once."""
    readers = _readers(flow)
    reached = set(on_device)
    for index in reversed(candidates):
        if readers[index] & reached:
            reached.add(index)
    return frozenset(reached.difference(on_device))


def _readers(flow: Flow) -> dict[int, set[int]]:
    """Return for each computing node those that read what it makes, through Q/DQ or at once."""
    readers: dict[int, set[int]] = {index: set() for index in flow.computing}
    for index, values in flow.reads.items():
        for value in values:
            maker = flow.maker(flow.origin(value)[0])
            if maker in readers:
                readers[maker].add(index)
    return readers
