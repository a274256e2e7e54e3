from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import input_at, scalar, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerRange(FormulaLowering):
    """Range of a known number of steps becomes a constant, added to a start that is given at run time.

    `Range(start, limit, delta) -> start + delta * [0, 1, 2, ...]`; where start and delta are constants too, so is the
    result.

    Left alone: a number of steps that is not known, or beyond `longest`.

    Attributes:
        longest: the constant has as many elements.
    """

    name = "lower-range"
    op_types = ("Range",)
    produces = frozenset({"Add", "Identity", "Mul"})

    longest: int = 65536

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the steps."""
        shape, delta = static_shape(node.outputs[0]), input_at(node, 2)
        if build.type is None or shape is None or shape[0] > self.longest:
            return Declined(f"its number of steps is not known, or beyond {self.longest}")
        steps = np.arange(shape[0], dtype=np.int64)
        start, stride = scalar(x), scalar(delta)
        if stride is None:
            moved = build("Mul", build.array(steps), delta)
        elif start is None:
            moved = build.array(steps * _exact(stride))
        else:
            return build("Identity", build.array(_exact(start) + steps * _exact(stride)))
        return build("Add", x, moved)


def _exact(number: float) -> float | int:
    """Return an integer as one, so that products with integers stay exact."""
    return int(number) if number == int(number) else number
