from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Anything, Either, Number, Op
from npuopt.passes.fuse.activation import ActivationFusion, half

if TYPE_CHECKING:
    from npuopt.graph import Editor, Match, Value

X = Anything("x")
ONE = Number(1.0)
SCALED = Either(
    Op("Mul", X, Number(math.sqrt(0.5))), Op("Div", X, Number(math.sqrt(2.0))), Op("Div", X, Number(1 / math.sqrt(0.5)))
)
ERF = Op("Erf", SCALED, name="erf")

SQUARE = Either(Op("Mul", X, X), Op("Pow", X, Number(2.0)))
CUBE = Either(Op("Mul", SQUARE, X), Op("Pow", X, Number(3.0)))
CUBIC, ROOT = Number(0.044715), Number(math.sqrt(2.0 / math.pi))
CUBED = Either(
    Op("Mul", CUBE, CUBIC),
    Op("Mul", X, Op("Mul", SQUARE, CUBIC)),
    Op("Mul", X, Op("Mul", X, Op("Mul", X, CUBIC))),
)
BENT = Op("Add", X, CUBED)
"""x + 0.044715 * x^3"""
BEND = Op("Add", Op("Mul", SQUARE, CUBIC), ONE)
"""1 + 0.044715 * x^2"""
INNER = Either(
    Op("Mul", BENT, ROOT),
    Op("Mul", Op("Mul", X, ROOT), BEND),
    Op("Mul", Op("Mul", X, BEND), ROOT),
    Op("Mul", X, Op("Mul", BEND, ROOT)),
)
TANH = Op("Tanh", INNER, name="tanh")

GATE = Either(ERF, TANH)
RAISED = Op("Add", GATE, ONE)
GELU = Either(
    half(Op("Mul", X, RAISED)),
    Op("Mul", half(X), RAISED),
    Op("Mul", X, half(RAISED)),
    Op("Mul", X, Op("Add", half(GATE), Number(0.5))),
)


@dataclass(frozen=True)
class FuseGelu(ActivationFusion):
    """The erf and tanh formulas of Gelu, in any order of their factors, become Gelu.

    `0.5 * x * (1 + Erf(x / sqrt(2))) -> Gelu(x)`
    `0.5 * x * (1 + Tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) -> Gelu<approximate = "tanh">(x)`

    Left alone: an inner value that is read elsewhere or is a graph output; a constant that raises the rank;
    other constants than those, or constants that are given at run time.
    """

    name = "fuse-gelu"
    op_types = ("Mul", "Div")
    patterns = (GELU,)

    def emit(self, found: Match, x: Value, edit: Editor) -> Value:
        """Emit the Gelu of the form that was found."""
        form = "tanh" if "tanh" in found.nodes else None
        return edit.emit("Gelu", [x], {"approximate": form}, before=found.root)
