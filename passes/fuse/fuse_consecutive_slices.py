from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, dims, has_one_use, input_at, producer
from npuopt.passes.fuse.slices import places, slice_bounds
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.passes.fuse.slices import Bounds
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseConsecutiveSlices(NodePass):
    """A Slice of a Slice becomes one Slice.

    `Slice(Slice(x, axis 1), axis 2) -> Slice(x, axes [1, 2])`; along one axis the places left by both are those of
    the result.

    Left alone: a first Slice that is read elsewhere or is a graph output; bounds that are not constant; two slices
    along one axis whose length is not known.
    """

    name = "fuse-consecutive-slices"
    op_types = ("Slice",)
    repeat = True
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Let `node` read what the Slice before it reads."""
        first = producer(input_at(node, 0), "Slice")
        source = input_at(first, 0) if first is not None else None
        shape = dims(source)
        if first is None or source is None:
            return None
        if not has_one_use(first.outputs[0]) or first.graph is not node.graph:
            return Declined(f"{first.outputs[0].name!r} is read elsewhere or is a graph output")
        if shape is None:
            return Declined(f"the rank of {source.name!r} is not known")
        inner, outer = slice_bounds(first, len(shape)), slice_bounds(node, len(shape))
        if inner is None or outer is None:
            return Declined("its bounds are not constant")
        for axis, bounds in outer.items():
            length = shape[axis]
            if axis not in inner:
                inner[axis] = bounds
            elif isinstance(length, int):
                inner[axis] = _written(places(range(length), inner[axis]), bounds, length)
            else:
                return Declined(f"it slices axis {axis} twice, whose length is not known")
        build = Builder(edit, node)
        axes = sorted(inner)
        starts, ends, steps = ([inner[axis][part] for axis in axes] for part in range(3))
        operands: list[Value] = [build.integers(*numbers) for numbers in (starts, ends, axes, steps)]
        edit.replace(node.outputs[0], build("Slice", source, *operands))
        edit.erase_unread(node)
        return Changed(f"became one Slice of the axes {axes}")


def _written(first: range, bounds: Bounds, length: int) -> Bounds:
    """Return the bounds that keep of an axis of `length` what `bounds` keep of its places `first`."""
    kept = places(first, bounds)
    if not kept:
        return 0, 0, 1
    end = kept[-1] + (1 if kept.step > 0 else -1)
    return kept[0], end if end >= 0 else -length - 1, kept.step
