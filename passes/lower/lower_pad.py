from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, input_at, scalar, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.windows import sliced
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerPad(FormulaLowering):
    """Pad becomes a join with constants, a Slice, or a Gather of what it repeats.

    `Pad(x) -> Concat(zeros, x, zeros)` axis by axis, with a Slice where padding is negative;
    `Pad<mode = "edge">(x) -> Gather(x, [0, 0, 0, 1, 2, 2])`, and so with `reflect` and `wrap`.

    Left alone: pads, axes or a value given at run time; negative padding of another mode than `constant`; a shape
    that is not static or has no elements; a result without elements.
    """

    name = "lower-pad"
    op_types = ("Pad",)
    produces = frozenset({"Concat", "Gather", "Identity", "Slice"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the padded tensor."""
        shape, pads = static_shape(x), constant(input_at(node, 1))
        if shape is None or 0 in (*shape, *(static_shape(node.outputs[0]) or ())):
            return Declined("its shape is not static, or has no elements")
        filling, axes = input_at(node, 2), input_at(node, 3)
        if pads is None or any(value is not None and constant(value) is None for value in (filling, axes)):
            return Declined("its pads, its axes or its value are not constant")
        chosen = constant(axes)
        places = list(range(len(shape))) if chosen is None else [int(axis) % len(shape) for axis in chosen]
        around = list(zip(places, pads[: len(places)].tolist(), pads[len(places) :].tolist(), strict=True))
        mode = attribute(node, "mode", "constant")
        if mode != "constant" and pads.min(initial=0) < 0:
            return Declined(f"it has negative padding in mode {mode}")
        value = x
        for axis, begin, end in around:
            if (begin, end) == (0, 0):
                continue
            if mode == "constant":
                value = _filled(value, axis, begin, end, scalar(filling) or 0, build)
            else:
                value = build("Gather", value, build.integers(*_order(shape[axis], begin, end, mode)), axis=axis)
        return build("Identity", x) if value is x else value


def _order(length: int, begin: int, end: int, mode: str) -> list[int]:
    """Return which elements stand in the padded axis."""
    places = np.arange(-begin, length + end)
    if mode == "edge":
        return places.clip(0, length - 1).tolist()
    if mode == "wrap" or length == 1:
        return (places % length).tolist()
    period = 2 * (length - 1)
    return (length - 1 - abs(places % period - (length - 1))).tolist()


def _filled(value: Value, axis: int, begin: int, end: int, filling: float, build: Builder) -> Value:
    shape = static_shape(value) or ()
    if begin < 0 or end < 0:
        value = sliced(value, axis, max(-begin, 0), shape[axis] + min(end, 0), build)
    parts = [
        value if length is None else _block(shape, axis, length, filling, build)
        for length in (begin, None, end)
        if length is None or length > 0
    ]
    return build("Concat", *parts, axis=axis) if len(parts) > 1 else value


def _block(shape: tuple[int, ...], axis: int, length: int, filling: float, build: Builder) -> Value:
    return build.array(np.full((*shape[:axis], length, *shape[axis + 1 :]), filling))
