from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import Builder, attribute, dims, input_at, scalar
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value


@dataclass(frozen=True)
class LowerTopK(Lowering):
    """TopK of a few elements becomes the extreme and its position, one after the other.

    `TopK(x, 1) -> ReduceMax(x), ArgMax(x)`; with `largest = 0` the minimum and its position. For more elements, each
    is the extreme of those that are not taken yet: `m = ReduceMax(Where(taken, -inf, x))` at the first position that
    is not taken and where x equals m, `p = ReduceMin(Where(Equal(x, m) and not taken, positions, last))`.

    Left alone: more than `most` elements, or a number that is given at run time; an input without elements or of
    unknown type; for more than one, an axis whose length is not known.

    Attributes:
        most: each costs some eight nodes.
    """

    name = "lower-top-k"
    op_types = ("TopK",)
    produces = frozenset({"And", "ArgMax", "ArgMin", "Concat", "Equal", "Not", "Or", "ReduceMax", "ReduceMin", "Where"})

    most: int = 8

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace values and indices."""
        x, build = input_at(node, 0), Builder(edit, node)
        count = scalar(input_at(node, 1))
        if count is None or not 1 <= count <= self.most:
            return Declined("it is not known how many it asks for" if count is None else f"it asks for {count:.0f}")
        shape = dims(x)
        if x is None or shape is None or 0 in shape or build.type is None:
            return Declined("its input has no elements, or is of unknown rank")
        axis = attribute(node, "axis", -1) % len(shape)
        length = shape[axis]
        if count == 1:
            axis, largest = attribute(node, "axis", -1), attribute(node, "largest", 1)
            value = build("ReduceMax" if largest else "ReduceMin", x, build.integers(axis), keepdims=1)
            edit.replace_node(node, value, build("ArgMax" if largest else "ArgMin", x, axis=axis, keepdims=1))
        elif not isinstance(length, int):
            return Declined(f"the length of axis {axis} is not known")
        else:
            edit.replace_node(node, *_one_by_one(node, x, int(count), axis, length, build))
        return Changed(f"became {', '.join(dict.fromkeys(build.emitted))}")


def _one_by_one(node: Node, x: Value, count: int, axis: int, length: int, build: Builder) -> tuple[Value, Value]:
    """Return values and positions of the `count` most extreme elements."""
    largest = attribute(node, "largest", 1)
    kind = build.type
    assert kind is not None  # noqa: S101 -- asked for by the caller
    worst = float("-inf" if largest else "inf") if kind.is_floating_point() else int(kind.min if largest else kind.max)
    filler = build.array(np.array(worst))
    places = np.arange(length, dtype=np.int64).reshape([-1 if at == axis else 1 for at in range(len(dims(x) or ()))])
    positions, last = build.edit.constant(places, near=node), build.edit.constant(places.max(), near=node)
    along = build.integers(axis)
    taken: Value | None = None
    values: list[Value] = []
    indices: list[Value] = []
    for _ in range(count):
        left = x if taken is None else build("Where", taken, filler, x)
        value = build("ReduceMax" if largest else "ReduceMin", left, along, keepdims=1)
        here = build("Equal", x, value)
        if taken is not None:
            here = build("And", here, build("Not", taken))
        index = build("ReduceMin", build("Where", here, positions, last), along, keepdims=1)
        values.append(value)
        indices.append(index)
        if len(values) < count:
            now = build("Equal", positions, index)
            taken = now if taken is None else build("Or", taken, now)
    return build("Concat", *values, axis=axis), build("Concat", *indices, axis=axis)
