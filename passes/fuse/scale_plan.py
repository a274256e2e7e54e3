"""The way of one constant factor up a graph, to the constants that can take it in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import (
    constant,
    has_one_use,
    is_constant,
    is_op,
    producer,
    scale_origins,
    static_shape,
)

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value

LINEAR = {
    **dict.fromkeys(("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Expand", "Tile"), (0,)),
    **dict.fromkeys(("Neg", "Identity", "ReduceSum", "ReduceMean", "GlobalAveragePool", "AveragePool", "Div"), (0,)),
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "LayerNormalization"), (1, 2)),
    **dict.fromkeys(("Add", "Sub"), (0, 1)),
    "RMSNormalization": (1,),
}
"""The inputs which, all multiplied by a factor, multiply the op's first output by it."""
BILINEAR = ("MatMul", "Mul")
"""Ops for which it is one input or the other."""
SHARED_UP_TO = 4096
"""Elements of a constant with other readers that may be copied for its scaled twin."""


class ScalePlan:
    """Where a factor goes; nothing is changed before `apply`."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.places: list[tuple[Node, int]] = []
        self.scaled: list[Value] = []
        self.why = ""

    def reaches_constants(self, value: Value, reader: Node) -> bool:
        """Find constants above `value`, which `reader` reads, that can take the factor in."""
        node = producer(value)
        if node is None or value is not node.outputs[0]:
            return self._refuse(f"its way up ends at {value.name!r}")
        if not has_one_use(value) or node.graph is not reader.graph:
            return self._refuse(f"{value.name!r} is read elsewhere or is a graph output")
        self.scaled.append(value)
        if is_op(node, *BILINEAR):
            return self._into_either(node)
        places = range(len(node.inputs)) if is_op(node, "Concat") else LINEAR.get(node.op_type)
        if places is None:
            return self._refuse(f"its way up ends at {node.op_type}, which is not linear")
        return all(self._into(node, index) for index in places if index < len(node.inputs))

    def misfit(self) -> str:
        """Return which constant the factor would take out of the range of its type, or an empty string."""
        for node, index in self.places:
            value = node.inputs[index]
            known = constant(value)
            if value is None or known is None:
                continue
            largest = float(np.abs(known[np.isfinite(known)]).max(initial=0)) * abs(self.factor)
            limits = np.finfo(known.dtype)
            if largest and not float(limits.tiny / limits.eps) <= largest <= float(limits.max):
                return f"the largest number of {value.name!r} would become {largest:g}"
        return ""

    def apply(self, edit: Editor) -> None:
        """Give every place its scaled constant."""
        for value in self.scaled:
            scale_origins(value, self.factor)
        for node, index in self.places:
            value = node.inputs[index]
            known = constant(value)
            if value is not None and known is not None:
                scaled = (known * np.asarray(self.factor, dtype=np.float64)).astype(known.dtype)
                node.replace_input_with(index, edit.constant(scaled, near=node, name=f"{value.name}/scaled"))

    def _into(self, node: Node, index: int) -> bool:
        value = node.inputs[index]
        if value is None:
            return True
        if not is_constant(value):
            return self.reaches_constants(value, node)
        size = math.prod(static_shape(value) or ())
        if len(value.uses()) > 1 and size > SHARED_UP_TO:
            return self._refuse(f"the constant {value.name!r} has other readers")
        self.places.append((node, index))
        return True

    def _into_either(self, node: Node) -> bool:
        """Put the factor into one operand: a constant if there is one, else whichever side leads to constants."""
        order = sorted((0, 1), key=lambda index: not is_constant(node.inputs[index]))
        for index in order:
            kept, kept_values = len(self.places), len(self.scaled)
            if self._into(node, index):
                return True
            del self.places[kept:], self.scaled[kept_values:]
        return False

    def _refuse(self, why: str) -> bool:
        self.why = self.why or why
        return False
