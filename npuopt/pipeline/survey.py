"""One walk over a model: what is in it, of which types, and whether it hangs together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from npuopt.graph import label
from npuopt.graph.queries import qualified_op_type, subgraphs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Graph, Model, Node

    Place = tuple[int, Node]
    """A node with its position in graph order."""


@dataclass
class Survey:
    """What one walk found.

    Attributes:
        faults: broken single assignment, dangling uses and uses ahead of their producer, a sentence each.
        nodes: how many there are, in the main graph and its subgraphs.
        all_typed: whether the type and rank of every value are known.
        wiring: the same number as before when no node was added, taken away or wired in another way.
    """

    faults: list[str] = field(default_factory=list[str])
    nodes: int = 0
    all_typed: bool = True
    wiring: int = 0
    _places: dict[str, list[Place]] = field(default_factory=dict[str, "list[Place]"], repr=False)

    def of_types(self, op_types: tuple[str, ...]) -> list[Node]:
        """List the nodes of these types (`domain::Name` outside ONNX) in graph order."""
        found = [place for op_type in dict.fromkeys(op_types) for place in self._places.get(op_type, ())]
        return [node for _, node in sorted(found)]  # no two positions are equal, so nodes are never compared

    def add(self, node: Node, inputs: Sequence[int]) -> None:
        """Count a node, which stands behind all counted before; `inputs` are the ids of what it reads."""
        self._places.setdefault(qualified_op_type(node), []).append((self.nodes, node))
        self.nodes += 1
        self.wiring = hash((self.wiring, id(node), *inputs))


def survey(model: Model) -> Survey:
    """Walk over the model once. Linear time."""
    found = Survey()
    _walk(model.graph, set(), set(), found)
    return found


def _walk(graph: Graph, outer: set[int], names: set[str], found: Survey) -> None:
    """Walk one graph in order; `outer` holds the ids of values visible from enclosing graphs."""
    given = [*graph.inputs, *graph.initializers.values()]
    visible = outer | {id(value) for value in given} | {id(None)}
    scope = names | {value.name or "" for value in given}
    faults = found.faults
    for node in graph:
        inputs = list(map(id, node.inputs))
        found.add(node, inputs)
        if not visible.issuperset(inputs):
            unseen = (value for value in node.inputs if value is not None and id(value) not in visible)
            faults.extend(f"{label(node)} reads {value.name!r}, which nothing before it makes" for value in unseen)
        for subgraph in subgraphs_of(node):
            _walk(subgraph, visible, scope, found)
        for value in node.outputs:
            name = value.name
            if not name:
                continue
            if name in scope:
                faults.append(f"{label(node)} makes {name!r}, which is made already")
            scope.add(name)
            visible.add(id(value))
            if value.type is None or value.shape is None:
                found.all_typed = False
    orphans = (value for value in graph.outputs if id(value) not in visible)
    faults.extend(f"graph output {value.name!r} is made by nothing" for value in orphans)
