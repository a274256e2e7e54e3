from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import DataType, attribute
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerCastToBool(FormulaLowering):
    """Cast of a number to bool becomes a comparison with zero.

    `Cast<to = bool>(x) -> Not(Equal(x, 0))`

    Left alone: other Casts; a bool or a string as input.
    """

    name = "lower-cast-to-bool"
    op_types = ("Cast",)
    produces = frozenset({"Equal", "Not"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return `Not(Equal(x, 0))`."""
        if attribute(node, "to", 0) != DataType.BOOL:
            return None
        if build.type in (DataType.BOOL, DataType.STRING):
            return Declined(f"its input is of type {build.type}, which has no zero to compare with")
        return build("Not", build("Equal", x, 0))
