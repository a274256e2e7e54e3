from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, dims
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerHardmax(FormulaLowering):
    """Hardmax becomes ArgMax, compared with every position.

    `Hardmax<axis>(x) -> Cast(ArgMax<axis>(x) == [0, 1, 2, ...])`

    Left alone: an axis whose length is not known.
    """

    name = "lower-hardmax"
    op_types = ("Hardmax",)
    produces = frozenset({"ArgMax", "Cast", "Equal"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return one where the position is that of the first largest value, else zero."""
        shape = dims(x)
        if shape is None:
            return Declined("the rank of its input is not known")
        axis = attribute(node, "axis", -1) % len(shape)
        length = shape[axis]
        if not isinstance(length, int):
            return Declined(f"the length of axis {axis} is not known")
        first = build("ArgMax", x, axis=axis, keepdims=1)
        positions = np.arange(length, dtype=np.int64).reshape([-1] + [1] * (len(shape) - axis - 1))
        hit = build("Equal", first, build.edit.constant(positions, near=node))
        return build("Cast", hit, to=build.type)
