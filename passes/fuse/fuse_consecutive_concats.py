from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, has_one_use, is_op, producer, rank
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseConsecutiveConcats(NodePass):
    """A Concat of Concats along the same axis becomes one Concat.

    `Concat(a, Concat(b, c), d) -> Concat(a, b, c, d)`

    Left alone: an inner Concat that is read elsewhere or is a graph output, in which case it would be done twice;
    another axis; an unknown rank.
    """

    name = "fuse-consecutive-concats"
    op_types = ("Concat",)
    repeat = True
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Let `node` read what the Concats before it read."""
        inner = [producer(value, "Concat") for value in node.inputs]
        if not any(inner):
            return None
        axis = _axis(node)
        if axis is None:
            return Declined("the rank is not known")
        parts: list[Value | None] = []
        why = ""
        for value, made in zip(node.inputs, inner, strict=True):
            taken = made if value is not None and made is not None and _axis(made) == axis else None
            if taken is not None and value is not None and not (has_one_use(value) and taken.graph is node.graph):
                taken, why = None, f"{value.name!r} is read elsewhere or is a graph output"
            parts += taken.inputs if taken is not None else [value]
        if len(parts) == len(node.inputs):
            return Declined(why) if why else None
        edit.replace(node.outputs[0], edit.emit("Concat", parts, {"axis": axis}, before=node))
        edit.erase_unread(node)
        return Changed(f"became one Concat of {len(parts)} values")


def _axis(node: Node) -> int | None:
    depth = rank(node.outputs[0])
    axis = attribute(node, "axis", 0)
    return axis % depth if depth and is_op(node, "Concat") else None
