"""Which tensors have one encoding because an op only moves their numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from npuopt.graph import is_constant
from npuopt.quantization.roles import data_inputs, is_float

if TYPE_CHECKING:
    from collections.abc import Iterable

    from npuopt.graph import Node, Value


@dataclass
class Group:
    """Tensors that have one encoding.

    Attributes:
        members: activations, in graph order.
        movers: the ops that tie them.
        constants: constants that a mover reads; each use of theirs takes the group's encoding.
    """

    members: list[Value] = field(default_factory=list["Value"])
    movers: list[Node] = field(default_factory=list["Node"])
    constants: list[Value] = field(default_factory=list["Value"])


def share_groups(values: Iterable[Value], movers: Iterable[Node]) -> list[Group]:
    """Tie the float tensors that each mover reads and writes; a tensor that none touches is a group of its own.

    Args:
        values: every activation to group, in graph order.
        movers: nodes whose float inputs and outputs must have one encoding.
    """
    movers = list(movers)
    leader: dict[Value, Value] = {value: value for value in values}

    def find(value: Value) -> Value:
        while leader[value] is not value:
            leader[value] = leader[leader[value]]
            value = leader[value]
        return value

    for node in movers:
        first, *others = [find(value) for value in _tied(node)]
        for other in others:
            leader[find(other)] = find(first)
    groups: dict[Value, Group] = {}
    for value in leader:
        groups.setdefault(find(value), Group()).members.append(value)
    for node in movers:
        group = groups[find(_tied(node)[0])]
        group.movers.append(node)
        group.constants += [value for _, value in data_inputs(node) if is_constant(value)]
    return list(groups.values())


def _tied(node: Node) -> list[Value]:
    """List the activations that the mover ties; at least its output."""
    outputs = [value for value in node.outputs if value.name and is_float(value)]
    return outputs + [value for _, value in data_inputs(node) if not is_constant(value)]
