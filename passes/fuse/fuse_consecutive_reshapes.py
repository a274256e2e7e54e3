from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, attribute, dims, input_at, integers, producer, static_shape
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target

RESHAPING = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")
"""Ops that keep the elements in their order."""


@dataclass(frozen=True)
class FuseConsecutiveReshapes(NodePass):
    """A Reshape, Squeeze, Unsqueeze or Flatten behind another becomes one Reshape, or none.

    `Reshape(Reshape(x, s), t) -> Reshape(x, t')`; t' is t with its zeros, which copy a dim of the first result,
    written out. Where the shape of x comes out again, x itself is the result. The first stays for its other readers.

    Left alone: a result whose shape cannot be written down without the first, being not static; no elements.
    """

    name = "fuse-consecutive-reshapes"
    op_types = RESHAPING
    repeat = True
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Let `node` read what the reshaping op before it reads."""
        first = producer(input_at(node, 0), *RESHAPING)
        source = input_at(first, 0) if first is not None else None
        if first is None or source is None:
            return None
        result = static_shape(node.outputs[0])
        if result is not None and result == static_shape(source):
            edit.replace(node.outputs[0], source)
            edit.erase_unread(node)
            return Changed(f"took back the {first.op_type} before it")
        shape = _written_out(node, source, result)
        if isinstance(shape, str):
            return Declined(shape)
        reshaped = edit.emit("Reshape", [source, Builder(edit, node).integers(*shape)], before=node)
        edit.replace(node.outputs[0], reshaped)
        edit.erase_unread(node)
        return Changed(f"became one Reshape to {shape}")


def _written_out(node: Node, source: Value, result: tuple[int, ...] | None) -> list[int] | str:
    """Return the shape that a Reshape of `source` needs to give what `node` gives, or why there is none."""
    if result is not None:
        return "it has no elements" if 0 in result else list(result)
    asked = integers(input_at(node, 1)) if node.op_type == "Reshape" else None
    if asked is None or attribute(node, "allowzero", 0):
        return "the shape of its result is not static"
    before, between = dims(source) or (), dims(input_at(node, 0)) or ()
    written: list[int] = []
    for axis, size in enumerate(asked):
        if size != 0:
            written.append(size)
            continue
        copied = between[axis] if axis < len(between) else None
        if isinstance(copied, int):
            written.append(copied)
        elif copied is not None and axis < len(before) and before[axis] == copied:
            written.append(0)
        else:
            return f"its dim {axis} copies one that is not known ahead of the {node.op_type} before it"
    return written
