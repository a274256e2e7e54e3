from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Anything, Either, Number, Op
from npuopt.passes.fuse.activation import ActivationFusion

if TYPE_CHECKING:
    from npuopt.graph import Editor, Match, Value

X = Anything("x")
SOFTPLUS = Either(Op("Softplus", X), Op("Log", Op("Add", Op("Exp", X), Number(1.0))))
MISH = Op("Mul", X, Op("Tanh", SOFTPLUS))


@dataclass(frozen=True)
class FuseMish(ActivationFusion):
    """A value times the tanh of its own softplus becomes Mish.

    `x * Tanh(Softplus(x)) -> Mish(x)`, `x * Tanh(Log(1 + Exp(x))) -> Mish(x)`

    Left alone: an inner value that is read elsewhere or is a graph output; a constant that raises the rank.
    """

    name = "fuse-mish"
    op_types = ("Mul",)
    patterns = (MISH,)

    def emit(self, found: Match, x: Value, edit: Editor) -> Value:
        """Emit the Mish."""
        return edit.emit("Mish", [x], before=found.root)
