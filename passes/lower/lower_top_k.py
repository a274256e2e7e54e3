from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, attribute, dims, input_at, scalar
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node


@dataclass(frozen=True)
class LowerTopK(Lowering):
    """TopK of one element becomes the extreme and its position.

    `TopK(x, 1) -> ReduceMax(x), ArgMax(x)`; with `largest = 0` the minimum and its position

    Left alone: another number than 1, or one that is given at run time; an input without elements or of unknown type.
    """

    name = "lower-top-k"
    op_types = ("TopK",)
    produces = frozenset({"ArgMax", "ArgMin", "ReduceMax", "ReduceMin"})

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace values and indices."""
        x, build = input_at(node, 0), Builder(edit, node)
        count = scalar(input_at(node, 1))
        if count != 1:
            return Declined("it is not known to ask for one element" if count is None else f"it asks for {count:.0f}")
        shape = dims(x)
        if x is None or shape is None or 0 in shape:
            return Declined("its input has no elements, or is of unknown rank")
        axis, largest = attribute(node, "axis", -1), attribute(node, "largest", 1)
        value = build("ReduceMax" if largest else "ReduceMin", x, build.integers(axis), keepdims=1)
        edit.replace_node(node, value, build("ArgMax" if largest else "ArgMin", x, axis=axis, keepdims=1))
        return Changed(f"became {', '.join(build.emitted)}")
