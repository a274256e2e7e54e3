from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.passes.fuse.affine import Change, absorb_operand
from npuopt.pipeline import Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseConvScale(NodePass):
    """A constant factor or divisor of the channels of a Conv, ConvTranspose or Gemm goes into its weights.

    `Mul(Conv(x, w, b), c) -> Conv(x, w * c, b * c)`, `Div(Conv(x, w, b), c) -> Conv(x, w / c, b / c)`

    Left alone: a constant that does not run along the channels, or raises the rank; a divisor of zero; a constant,
    weights or a bias given at run time; an output of the linear op that is read elsewhere or is a graph output.
    """

    name = "fuse-conv-scale"
    op_types = ("Mul", "Div")
    repeat = True
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the product or quotient `node` into the linear op that makes one of its operands."""

        def change(numbers: np.ndarray) -> Change | Declined:
            if node.op_type == "Mul":
                return numbers, None
            return (1 / numbers, None) if np.all(numbers) else Declined("it divides by zero")

        return absorb_operand(node, edit, change)
