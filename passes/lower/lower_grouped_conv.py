from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerGroupedConv(FormulaLowering):
    """A convolution in groups becomes one convolution for each group.

    `Conv<group = g>(x, w, b) -> Concat(Conv(x1, w1, b1), ..., Conv(xg, wg, bg))` with the parts of a Split of the
    channels; ConvTranspose likewise.

    Left alone: one group; more than `most` groups; channels or weights whose shape is not static.

    Attributes:
        most: each group costs a convolution of its own.
    """

    name = "lower-grouped-conv"
    op_types = ("Conv", "ConvTranspose")
    produces = frozenset({"Concat", "Conv", "ConvTranspose", "Split"})

    most: int = 32

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the joined groups."""
        groups = attribute(node, "group", 1)
        if groups == 1:
            return None
        if groups > self.most:
            return Declined(f"its {groups} groups are more than {self.most}")
        if any(static_shape(value) is None for value in node.inputs if value is not None):
            return Declined("its shapes are not static")
        pieces = [_parts(x, 1, groups, build)]
        pieces += [_parts(value, 0, groups, build) for value in node.inputs[1:] if value is not None]
        attributes = {name: attr for name, attr in node.attributes.items() if name != "group"}
        results = [build(node.op_type, *group, **attributes) for group in zip(*pieces, strict=True)]
        return build("Concat", *results, axis=1)


def _parts(value: Value, axis: int, count: int, build: Builder) -> tuple[Value, ...]:
    """Cut `value` into equal parts; a constant at once."""
    known = constant(value)
    if known is not None:
        return tuple(build.array(part) for part in np.split(known, count, axis))
    length = (static_shape(value) or ())[axis] // count
    return build.many("Split", count, value, build.integers(*[length] * count), axis=axis)
