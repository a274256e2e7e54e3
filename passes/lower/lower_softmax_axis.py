from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, rank
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerSoftmaxAxis(FormulaLowering):
    """Softmax, LogSoftmax and Hardmax over another axis than the last move it there and back.

    `Softmax<axis = 1>(x) -> Transpose(Softmax<axis = -1>(Transpose(x)))`

    Left alone: the last axis; an input of unknown rank.
    """

    name = "lower-softmax-axis"
    op_types = ("Hardmax", "LogSoftmax", "Softmax")
    produces = frozenset({"Hardmax", "LogSoftmax", "Softmax", "Transpose"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the op between two Transposes."""
        depth = rank(x)
        if depth is None:
            return Declined("the rank of its input is not known")
        axis = attribute(node, "axis", -1)
        if axis in (-1, depth - 1):
            return None
        swap = list(range(depth))
        swap[axis], swap[-1] = swap[-1], swap[axis]
        return build("Transpose", build(node.op_type, build("Transpose", x, perm=swap), axis=-1), perm=swap)
