"""One walk over a model: what is in it, of which types, and whether it hangs together."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from npuopt.graph import label
from npuopt.graph.queries import HOLDS_GRAPHS, qualified_op_type, subgraphs_of

if TYPE_CHECKING:
    from collections.abc import KeysView
    from collections.abc import Set as AbstractSet

    from npuopt.graph import Graph, Model, Node, Value


@dataclass
class Survey:
    """What one walk found.

    Attributes:
        faults: broken single assignment, dangling uses and uses ahead of their producer, a sentence each.
        all_typed: whether the type and rank of every value are known.
        wiring: the same number as before when no node was added, taken away or wired in another way.
    """

    faults: list[str] = field(default_factory=list[str])
    all_typed: bool = True
    wiring: int = 0
    _every: list[Node] = field(default_factory=list["Node"], repr=False)
    _by_type: defaultdict[str, list[Node]] = field(default_factory=lambda: defaultdict(list), repr=False)

    @property
    def nodes(self) -> int:
        """How many nodes there are, in the main graph and its subgraphs."""
        return len(self._every)

    @property
    def op_types(self) -> KeysView[str]:
        """The types of the nodes (`domain::Name` outside ONNX)."""
        return self._by_type.keys()

    def of_types(self, op_types: tuple[str, ...]) -> list[Node]:
        """List the nodes of these types in graph order."""
        found = [self._by_type[op_type] for op_type in dict.fromkeys(op_types) if op_type in self._by_type]
        if len(found) == 1:
            return list(found[0])
        return sorted((node for part in found for node in part), key=self._position.__getitem__)

    @cached_property
    def _position(self) -> dict[Node, int]:
        return {node: index for index, node in enumerate(self._every)}

    def walk(
        self, graph: Graph, outer: AbstractSet[Value | None] = frozenset(), names: AbstractSet[str] = frozenset()
    ) -> None:
        """Walk one graph in order; `outer` are the values visible from enclosing graphs, `names` their names."""
        given = [*graph.inputs, *graph.initializers.values()]
        visible: set[Value | None] = {*outer, *given, None}
        scope = {*names, *(value.name or "" for value in given)}
        every, by_type, wiring = self._every, self._by_type, self.wiring
        for node in graph:
            inputs = node.inputs
            wiring = hash((wiring, node, inputs))
            op_type = node.op_type if not node.domain else qualified_op_type(node)
            by_type[op_type].append(node)
            every.append(node)
            if not visible.issuperset(inputs):
                unseen = [value.name for value in inputs if value is not None and value not in visible]
                self.faults += [f"{label(node)} reads {name!r}, which nothing before it makes" for name in unseen]
            if op_type in HOLDS_GRAPHS or node.domain:
                self.wiring = wiring
                for subgraph in subgraphs_of(node):
                    self.walk(subgraph, visible, scope)
                wiring = self.wiring
            for value in node.outputs:
                name = value.name
                if not name:
                    continue
                if name in scope:
                    self.faults.append(f"{label(node)} makes {name!r}, which is made already")
                scope.add(name)
                visible.add(value)
                if value.type is None or value.shape is None:
                    self.all_typed = False
        self.wiring = wiring
        orphans = (value for value in graph.outputs if value not in visible)
        self.faults += [f"graph output {value.name!r} is made by nothing" for value in orphans]


def survey(model: Model) -> Survey:
    """Walk over the model once. Linear time."""
    found = Survey()
    found.walk(model.graph)
    return found
