from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, attribute, dims, input_at, scalar
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerTrilu(FormulaLowering):
    """Trilu becomes a selection by a constant triangular mask.

    `Trilu<upper>(x, k) -> Where(mask, x, 0)`; for bool, `And(mask, x)`

    Left alone: a matrix whose size is not known; a diagonal `k` that is not constant.
    """

    name = "lower-trilu"
    op_types = ("Trilu",)
    produces = frozenset({"And", "Where"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the masked matrix."""
        rows_and_columns = (dims(x) or ())[-2:]
        sizes = [size for size in rows_and_columns if isinstance(size, int)]
        if len(sizes) != 2:
            return Declined("the size of its matrix is not known")
        diagonal_input = input_at(node, 1)
        diagonal = 0 if diagonal_input is None else scalar(diagonal_input)
        if diagonal is None:
            return Declined("its diagonal is not constant")
        triangle = np.triu if attribute(node, "upper", 1) else np.tril
        mask = build.edit.constant(triangle(np.ones(sizes, dtype=np.bool_), int(diagonal)), near=node)
        if build.type == DataType.BOOL:
            return build("And", mask, x)
        return build("Where", mask, x, 0)
