from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Anything, Constant, Either, Number, Op, scalar
from npuopt.passes.fuse.activation import ActivationFusion
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Editor, Match, Value

X, ALPHA = Anything("x"), Constant("alpha")
SWISH = Either(
    Op("Mul", X, Op("Sigmoid", X)),
    Op("Mul", X, Op("Sigmoid", Op("Mul", X, ALPHA))),
    Op("Div", X, Op("Add", Op("Exp", Op("Neg", X)), Number(1.0))),
)


@dataclass(frozen=True)
class FuseSwish(ActivationFusion):
    """A value times its own sigmoid becomes Swish (also called SiLU).

    `x * Sigmoid(alpha * x) -> Swish<alpha>(x)`, `x / (1 + Exp(-x)) -> Swish(x)`

    Left alone: a sigmoid that is read elsewhere or is a graph output; an alpha of several numbers or given at run
    time; a constant that raises the rank.
    """

    name = "fuse-swish"
    op_types = ("Mul", "Div")
    patterns = (SWISH,)

    def emit(self, found: Match, x: Value, edit: Editor) -> Value | Declined:
        """Emit the Swish."""
        factor = found.values.get("alpha")
        alpha = 1.0 if factor is None else scalar(factor)
        if alpha is None:
            return Declined("alpha is not a single number")
        return edit.emit("Swish", [x], {"alpha": None if alpha == 1 else alpha}, before=found.root)
