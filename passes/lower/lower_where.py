from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import Builder, DataType, constant, element_type, input_at
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node

KINDS = (DataType.FLOAT, DataType.FLOAT16, DataType.DOUBLE, DataType.INT32, DataType.INT64)


@dataclass(frozen=True)
class LowerWhere(Lowering):
    """Where between constants becomes arithmetic with its condition as a number.

    `Where(c, x, y) -> b * x + (1 - b) * y` with `b = Cast(c)`, as masks are made; exact, as one of the terms is zero.

    Left alone: operands given at run time, which may hold infinities; constants that are not finite or hold negative
    zeros; types other than floats, int32 and int64.
    """

    name = "lower-where"
    op_types = ("Where",)
    produces = frozenset({"Add", "Cast", "Mul", "Sub"})

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace `node` by the sum."""
        build = Builder(edit, node)
        build.type = element_type(input_at(node, 1))
        chosen, other = constant(input_at(node, 1)), constant(input_at(node, 2))
        if chosen is None or other is None:
            return Declined("what it chooses from is not constant")
        if build.type not in KINDS:
            return Declined(f"it chooses from {build.type}")
        if not all(np.isfinite(array).all() and not _has_negative_zero(array) for array in (chosen, other)):
            return Declined("its constants are not finite, or hold a negative zero")
        number = build("Cast", input_at(node, 0), to=build.type)
        first = build("Mul", number, input_at(node, 1)) if chosen.any() else input_at(node, 1)
        second = build("Mul", build("Sub", 1.0, number), input_at(node, 2))
        edit.replace_node(node, build("Add", first, second))  # also where one is zero: the other may be a negative zero
        return Changed(f"became {', '.join(build.emitted)}")


def _has_negative_zero(array: np.ndarray) -> bool:
    return bool(((array == 0) & np.signbit(array)).any())
