from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Anything, Constant, Either, Number, Op, scalar
from npuopt.passes.fuse.activation import ActivationFusion
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Editor, Match, Value

X = Anything("x")
SHIFTED = Op("Add", X, Number(3.0))
CLIPPED = Either(
    Op("Clip", SHIFTED, Number(0.0), Number(6.0)),
    Op("Min", Op("Max", SHIFTED, Number(0.0)), Number(6.0)),
    Op("Min", Op("Relu", SHIFTED), Number(6.0)),
)
"""Clip(x + 3, 0, 6)"""
HARD_SIGMOID = Either(Op("Div", CLIPPED, Number(6.0)), Op("Mul", CLIPPED, Number(1 / 6)))
LINE = Op("Add", Op("Mul", X, Constant("slope")), Constant("shift"))
CLIPPED_LINE = Either(
    Op("Clip", LINE, Number(0.0), Number(1.0)),
    Op("Min", Op("Max", LINE, Number(0.0)), Number(1.0)),
    Op("Max", Op("Min", LINE, Number(1.0)), Number(0.0)),
)


@dataclass(frozen=True)
class FuseHardSigmoid(ActivationFusion):
    """A line that is clipped between zero and one becomes HardSigmoid.

    `Clip(x + 3, 0, 6) / 6 -> HardSigmoid<alpha = 1/6, beta = 0.5>(x)`,
    `Clip(x * a + b, 0, 1) -> HardSigmoid<alpha = a, beta = b>(x)`

    Left alone: an inner value that is read elsewhere or is a graph output; bounds or factors that are other numbers
    or given at run time; a constant that raises the rank.
    """

    name = "fuse-hard-sigmoid"
    op_types = ("Clip", "Div", "Max", "Min", "Mul")
    patterns = (HARD_SIGMOID, CLIPPED_LINE)

    def emit(self, found: Match, x: Value, edit: Editor) -> Value | Declined:
        """Emit the HardSigmoid."""
        slope, shift = found.values.get("slope"), found.values.get("shift")
        line = (1 / 6, 0.5) if slope is None else (scalar(slope), scalar(shift))
        if None in line:
            return Declined("its slope or its shift is not a single number")
        return edit.emit("HardSigmoid", [x], dict(zip(("alpha", "beta"), line, strict=True)), before=found.root)
