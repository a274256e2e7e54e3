"""Follows units (channels, heads) through a graph: which tensors hold them, which constants have a part for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

from npuopt.graph import is_constant, label, static_shape, users

if TYPE_CHECKING:
    from collections.abc import Callable

    from npuopt.graph import Graph, Node, Value

    Rule = Callable[["Tracing", Node], None]


@dataclass(frozen=True)
class Place:
    """Where a tensor holds units: along `axis`, `run` neighbouring elements for each."""

    axis: int
    run: int


@dataclass
class Tracing:
    """What one set of units touches.

    Attributes:
        graph: the graph in which they are followed.
        units: how many there are.
        rules: what each op does with them, by op type.
        through_interface: whether graph inputs and outputs may hold them.
        places: the tensors that hold them.
        cuts: the constants that have a part for each, by the node that reads them and the input, by axis.
        sizes: nodes whose constant input 1 is a shape that names them, with the entry.
        attributes: attributes that count them: by node and name, how many count as one unit.
        why: why they cannot be followed to their ends; empty when they can.
    """

    graph: Graph
    units: int
    rules: dict[str, Rule]
    through_interface: bool = False
    places: dict[Value, Place] = field(default_factory=dict["Value", Place])
    cuts: dict[tuple[Node, int], dict[int, int]] = field(default_factory=dict[tuple["Node", int], dict[int, int]])
    sizes: dict[Node, int] = field(default_factory=dict["Node", int])
    attributes: dict[tuple[Node, str], int] = field(default_factory=dict[tuple["Node", str], int])
    why: str = ""
    _waiting: list[Value] = field(default_factory=list["Value"])

    def follow(self, value: Value, place: Place) -> None:
        """Follow the units from `value` to wherever they come from and go."""
        self.hold(value, place)
        while self._waiting and not self.why:
            at = self._waiting.pop()
            maker = at.producer()
            if maker is not None:
                self._visit(maker)
            for node in users(at):
                self._visit(node)

    def hold(self, value: Value, place: Place) -> None:
        """Say that a run-time tensor holds the units; it is looked at in turn."""
        known, shape = self.places.get(value), static_shape(value)
        if known is not None or self.why:
            self.why = self.why or ("" if known == place else f"{value.name} holds them in two ways")
        elif shape is None or not 0 <= place.axis < len(shape) or shape[place.axis] != self.units * place.run:
            self.why = f"{value.name} does not hold them along one axis"
        elif not self.through_interface and (value.is_graph_output() or value.producer() is None):
            self.why = f"{value.name} is an input or output of the model"
        else:
            self.places[value] = place
            self._waiting.append(value)

    def read(self, node: Node, index: int, place: Place) -> None:
        """Say that `node` reads the units at input `index`: a constant is cut, any other tensor holds them."""
        value = node.inputs[index]
        if value is None:
            return
        if not is_constant(value):
            self.hold(value, place)
            return
        shape = static_shape(value)
        if shape is None or not 0 <= place.axis < len(shape) or shape[place.axis] != self.units * place.run:
            self.why = f"{value.name} has no part for each"
        elif self.cuts.setdefault((node, index), {}).setdefault(place.axis, place.run) != place.run:
            self.why = f"{value.name} has parts of two sizes"

    def of(self, value: Value | None) -> Place | None:
        """Return where a tensor holds the units, None where it does not."""
        return None if value is None else self.places.get(value)

    def refuse(self, node: Node, why: str) -> None:
        """Give up: `why` is what `node` does with the units."""
        self.why = self.why or f"{label(node)} {why}"

    def _visit(self, node: Node) -> None:
        rule = self.rules.get(node.op_type) if node.domain == "" else None
        if node.graph is not self.graph:
            self.refuse(node, "reads them inside a subgraph")
        elif rule is None:
            self.refuse(node, "treats them in a way that is not known")
        else:
            rule(self, node)


def moved(place: Place, before: tuple[int, ...], after: tuple[int, ...], units: int) -> Place | None:
    """Return where a Reshape from one shape to another leaves units, None where they end up torn apart."""
    ahead = prod(before[: place.axis])
    each = place.run * prod(before[place.axis + 1 :])
    for axis in range(len(after)):
        behind = prod(after[axis + 1 :])
        if prod(after[:axis]) == ahead and behind and each % behind == 0 and after[axis] == units * (each // behind):
            return Place(axis, each // behind)
    return None
