from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import DataType, constant, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerNarrowDequantizeLinear(FormulaLowering):
    """DequantizeLinear of constants of 2 or 4 bits becomes one of 8 bits.

    `DequantizeLinear(int4 w, scale, zero) -> DequantizeLinear(int8 w, scale, zero)`

    Left alone: wider types; weights or zero points given at run time.
    """

    name = "lower-narrow-dequantize-linear"
    op_types = ("DequantizeLinear",)
    produces = frozenset({"DequantizeLinear"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the values of 8 bits, dequantized."""
        wide = WIDER.get(build.type or DataType.UNDEFINED)
        if wide is None:
            return None
        arrays = [constant(value) for value in (x, input_at(node, 2)) if value is not None]
        if any(array is None for array in arrays):
            return Declined("its weights or zero points are not constant")
        build.type = wide
        values = [build.array(array) for array in arrays if array is not None]
        return build("DequantizeLinear", values[0], input_at(node, 1), *values[1:], **node.attributes)


WIDER = {
    DataType.INT2: DataType.INT8,
    DataType.INT4: DataType.INT8,
    DataType.UINT2: DataType.UINT8,
    DataType.UINT4: DataType.UINT8,
}
