from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Either, Number, Op
from npuopt.passes.fuse.activation import ActivationFusion
from npuopt.passes.fuse.fuse_hard_sigmoid import CLIPPED, HARD_SIGMOID, X

if TYPE_CHECKING:
    from npuopt.graph import Editor, Match, Value

HARD_SWISH = Either(
    Op("Mul", X, Op("HardSigmoid", X, alpha=1 / 6, beta=0.5)),
    Op("Mul", X, Op("HardSigmoid", X, alpha=1 / 6, beta=None)),
    Op("Mul", X, HARD_SIGMOID),
    Op("Div", Op("Mul", X, CLIPPED), Number(6.0)),
    Op("Mul", Op("Mul", X, CLIPPED), Number(1 / 6)),
    Op("Mul", Op("Div", X, Number(6.0)), CLIPPED),
    Op("Mul", Op("Mul", X, Number(1 / 6)), CLIPPED),
)


@dataclass(frozen=True)
class FuseHardSwish(ActivationFusion):
    """A value times its own hard sigmoid, spelled out or not, becomes HardSwish.

    `x * Clip(x + 3, 0, 6) / 6 -> HardSwish(x)`, `x * HardSigmoid<alpha = 1/6, beta = 0.5>(x) -> HardSwish(x)`

    Left alone: an inner value that is read elsewhere or is a graph output; bounds or factors that are other numbers
    or given at run time; a constant that raises the rank.
    """

    name = "fuse-hard-swish"
    op_types = ("Div", "Mul")
    patterns = (HARD_SWISH,)

    def emit(self, found: Match, x: Value, edit: Editor) -> Value:
        """Emit the HardSwish."""
        return edit.emit("HardSwish", [x], before=found.root)
