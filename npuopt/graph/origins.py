"""Which tensors of the model as it came a value still holds: names that outlive the rewrites."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from npuopt.graph.queries import graphs_of, is_op

if TYPE_CHECKING:
    import onnx_ir as ir

KEY = "npuopt.origins"
REORDERS = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Ops whose output holds each element of their first input once, in another order or shape."""


class Origin(NamedTuple):
    """A tensor of the model as it came, and what its numbers were multiplied with since."""

    name: str
    factor: float = 1.0


def note_origins(model: ir.Model) -> None:
    """Note of every value of the model that it is the tensor of its name; the Editor carries the notes on.

    What was noted before stays noted behind it.
    """
    for graph in graphs_of(model):
        made = [output for node in graph for output in node.outputs]
        for value in (*graph.inputs, *graph.initializers.values(), *made):
            if value.name:
                value.meta[KEY] = tuple(dict.fromkeys((Origin(value.name), *origins(value))))


def origins(value: ir.Value) -> tuple[Origin, ...]:
    """Return the noted tensors whose numbers the value holds, in this or another order, the latest known first."""
    return cast("tuple[Origin, ...]", value.meta.get(KEY, ()))  # pyright: ignore[reportUnknownMemberType] -- a UserDict without type arguments


def carry_origins(old: ir.Value, new: ir.Value) -> None:
    """Let `new`, which takes the place of `old`, be the tensors that `old` is.

    What `new` is a reordering of is them too, where nothing is noted of it: a layout may cancel the reordering.
    """
    noted = origins(old)
    if not noted:
        return
    known = tuple(dict.fromkeys((*noted, *origins(new))))
    old.meta[KEY] = new.meta[KEY] = known
    maker = new.producer()
    while maker is not None and is_op(maker, *REORDERS) and maker.inputs[0] is not None:
        source = maker.inputs[0]
        if origins(source) or source.is_graph_input():
            break
        source.meta[KEY] = known
        maker = source.producer()


def scale_origins(value: ir.Value, factor: float) -> None:
    """Note that the value holds its former numbers times `factor` from now on."""
    noted = origins(value)
    if noted:
        value.meta[KEY] = tuple(Origin(name, before * factor) for name, before in noted)
