from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Anything, Either, Op
from npuopt.passes.fuse.activation import ActivationFusion, half
from npuopt.passes.fuse.fuse_gelu import RAISED, X

if TYPE_CHECKING:
    from npuopt.graph import Editor, Match, Value

GATED = Anything("gated")
SIGMOID = Op("Sigmoid", X)
GATE = Either(
    Op("Mul", X, Op("Mul", SIGMOID, GATED)),
    Op("Mul", SIGMOID, Op("Mul", X, GATED)),
    Op("Mul", half(X), Op("Mul", RAISED, GATED)),
    Op("Mul", RAISED, Op("Mul", half(X), GATED)),
    Op("Mul", X, Op("Mul", half(RAISED), GATED)),
    Op("Mul", half(RAISED), Op("Mul", X, GATED)),
)


@dataclass(frozen=True)
class FuseGate(ActivationFusion):
    """A gate whose product comes ahead of its activation's becomes the activation times what is gated.

    `x * (Sigmoid(x) * y) -> Swish(x) * y` (SwiGLU), `0.5 * x * ((1 + Erf(x / sqrt(2))) * y) -> Gelu(x) * y` (GeGLU),
    with the tanh formula too. A gate in the usual order is what fuse-swish and fuse-gelu leave.

    Left alone: an inner value that is read elsewhere or is a graph output; a constant that raises the rank.
    """

    name = "fuse-gate"
    op_types = ("Mul",)
    patterns = (GATE,)

    def emit(self, found: Match, x: Value, edit: Editor) -> Value:
        """Emit the activation and the product."""
        op_type = "Gelu" if {"erf", "tanh"} & found.nodes.keys() else "Swish"
        form = {"approximate": "tanh"} if "tanh" in found.nodes else {}
        active = edit.emit(op_type, [x], form, before=found.root)
        return edit.emit("Mul", [active, found.values["gated"]], before=found.root)
