from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, attribute, constant, dims, element_type, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerWideIndices(FormulaLowering):
    """Indices of 64 bits become indices of 32 bits.

    `Gather(x, i) -> Gather(x, Cast<int32>(i))`; GatherElements and ScatterElements likewise. An index is less than
    the length of its axis, so that nothing is lost where that is below 2 ** 31; a constant is converted at once.

    Left alone: narrower indices; an axis whose length is not known or beyond that.
    """

    name = "lower-wide-indices"
    op_types = ("Gather", "GatherElements", "ScatterElements")
    produces = frozenset({"Cast", "Gather", "GatherElements", "ScatterElements"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the op with its narrow indices."""
        indices, shape = input_at(node, 1), dims(x)
        if indices is None or element_type(indices) != DataType.INT64:
            return None
        axis = attribute(node, "axis", 0)
        length = shape[axis] if shape else None
        if not isinstance(length, int) or length > MOST:
            return Declined(f"the length of axis {axis} is {length}, not a number up to {MOST}")
        known = constant(indices)
        if known is None:
            narrow = build("Cast", indices, to=DataType.INT32)
        else:
            narrow = build.edit.constant(known.astype(np.int32), near=node)
        return build(node.op_type, x, narrow, *node.inputs[2:], **node.attributes)


MOST = 2**31 - 1
