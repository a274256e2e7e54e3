"""How data flows between computing nodes: through chains of QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx

from npuopt.graph import input_at
from npuopt.graph.regions import values_read
from npuopt.target.views import converts

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value


class Flow:
    """The dataflow of a model's main graph.

    Attributes:
        nodes: all nodes, in graph order.
        computing: index -> node, of those that a graph output depends on, without Q/DQ.
        reads: for each computing node the values it reads, those that its subgraphs read included.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.nodes = list(model.graph)
        self.index_of = {node: index for index, node in enumerate(self.nodes)}
        live = self._live()
        self.computing = {index: node for index, node in enumerate(self.nodes) if index in live and not converts(node)}
        self.reads = {index: values_read(node) for index, node in self.computing.items()}

    def origin(self, value: Value) -> tuple[Value, tuple[Node, ...]]:
        """Follow a value back through Q/DQ: return where it begins and the chain of Q/DQ nodes from there."""
        chain: list[Node] = []
        while (maker := value.producer()) is not None and maker.graph is self.model.graph and converts(maker):
            source = input_at(maker, 0)
            if source is None:
                break
            chain.append(maker)
            value = source
        return value, tuple(reversed(chain))

    def maker(self, value: Value) -> int | None:
        """Return the index of the node that makes a value, or None for inputs and constants."""
        node = value.producer()
        return None if node is None else self.index_of.get(node)

    def graph(self) -> nx.DiGraph[int]:
        """Return which computing node needs which, by index."""
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(self.computing)
        for index, values in self.reads.items():
            for value in values:
                before = self.maker(self.origin(value)[0])
                if before is not None and before != index:
                    graph.add_edge(before, index)
        return graph

    def _live(self) -> set[int]:
        """Return the nodes that a graph output depends on."""
        live: set[int] = set()
        pending = list(self.model.graph.outputs)
        while pending:
            index = self.maker(pending.pop())
            if index is not None and index not in live:
                live.add(index)
                pending.extend(values_read(self.nodes[index]))
        return live
