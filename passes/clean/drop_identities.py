"""Nodes that return their input as it is, whatever the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import input_at
from npuopt.passes.clean.identities import RULES, why_same_shape
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class DropIdentities(NodePass):
    """Nodes that pass their input on unchanged are dropped.

    y = Identity(x), y = Cast<to = type of x>(x), y = Reshape(x, shape of x) -> x

    So are Dropout at inference; Transpose, Slice, Pad, Resize, Expand, Tile, Squeeze, Unsqueeze and Flatten
    that move nothing; Concat, Sum, Max, Min and Mean of one operand.

    Left alone: what may be no identity at run time (unknown dims, bounds or repeats); Dropout whose mask is read; a
    node between a graph input (or initializer, or another graph output) and a graph output, since both names stay.
    """

    name: ClassVar[str] = "drop-identities"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    op_types: ClassVar[tuple[str, ...]] = (
        *("Identity", "Cast", "CastLike", "Dropout"),
        *("Concat", "Sum", "Max", "Min", "Mean"),
        *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile"),
        *("Transpose", "Slice", "Pad", "Resize"),
    )

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Let the readers of the output read the input."""
        del target
        value = input_at(node, 0)
        if value is None:
            return None
        why = RULES.get(node.op_type, why_same_shape)(node)
        if not why:
            return None
        output, *others = node.outputs
        if any(other.uses() or other.is_graph_output() for other in others):
            return Declined("its mask is read")
        if output.is_graph_output() and not _can_be_output(value, node):
            return Declined(f"{output.name} is a graph output, and {value.name} cannot be it too")
        edit.replace(output, value)
        edit.erase(node)
        return Changed(why)


def _can_be_output(value: Value, node: Node) -> bool:
    maker = value.producer()
    return maker is not None and maker.graph is node.graph and not value.is_graph_output()
