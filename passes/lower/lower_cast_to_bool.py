from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from npuopt.graph import DataType, attribute
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


NARROW = (DataType.INT8, DataType.UINT8, DataType.INT16, DataType.UINT16, DataType.UINT32)
"""Of these, uint32 wraps around, and only zero becomes zero."""


@dataclass(frozen=True)
class LowerCastToBool(FormulaLowering):
    """Cast of a number to bool becomes a comparison with zero.

    `Cast<to = bool>(x) -> Not(Equal(x, 0))`

    Left alone: other Casts; a bool or a string as input; `by_int32`, what is no integer of up to 32 bits.

    Attributes:
        by_int32: cast narrow and unsigned integers to int32 first, which keeps zero zero and nothing else.
    """

    name = "lower-cast-to-bool"
    op_types = ("Cast",)
    produces = frozenset({"Cast", "Equal", "Not"})

    by_int32: bool = False

    def forms(self) -> tuple[LowerCastToBool, ...]:
        """Return the comparison in the input's own type, and that in int32."""
        return (self, replace(self, by_int32=True))

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return `Not(Equal(x, 0))`."""
        if attribute(node, "to", 0) != DataType.BOOL:
            return None
        if build.type in (DataType.BOOL, DataType.STRING):
            return Declined(f"its input is of type {build.type}, which has no zero to compare with")
        if self.by_int32:
            if build.type not in NARROW:
                return Declined(f"its input is of type {build.type}, which int32 does not hold")
            x, build.type = build("Cast", x, to=DataType.INT32), DataType.INT32
        return build("Not", build("Equal", x, 0))
