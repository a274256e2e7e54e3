from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Anything, Either, Number, Op, match
from npuopt.passes.fuse.activation import ActivationFusion

if TYPE_CHECKING:
    from npuopt.graph import Editor, Match, Node, Value

X = Anything("x")
SHIFTED = Op("Add", X, Number(3.0))
CLIPPED = Either(
    Op("Clip", SHIFTED, Number(0.0), Number(6.0)),
    Op("Min", Op("Max", SHIFTED, Number(0.0)), Number(6.0)),
    Op("Min", Op("Relu", SHIFTED), Number(6.0)),
)
"""Clip(x + 3, 0, 6)"""
HARD_SIGMOID = Either(Op("Div", CLIPPED, Number(6.0)), Op("Mul", CLIPPED, Number(1 / 6)))


@dataclass(frozen=True)
class FuseHardSigmoid(ActivationFusion):
    """A clipped line of slope one sixth becomes HardSigmoid.

    `Clip(x + 3, 0, 6) / 6 -> HardSigmoid<alpha = 1/6, beta = 0.5>(x)`

    Left alone: an inner value that is read elsewhere or is a graph output; bounds or factors that are other numbers
    or given at run time; a constant that raises the rank.
    """

    name = "fuse-hard-sigmoid"
    op_types = ("Div", "Mul")

    def find(self, node: Node) -> Match | None:
        """Find the clipped line."""
        return match(HARD_SIGMOID, node)

    def emit(self, found: Match, x: Value, edit: Editor) -> Value:
        """Emit the HardSigmoid."""
        return edit.emit("HardSigmoid", [x], {"alpha": 1 / 6, "beta": 0.5}, before=found.root)
