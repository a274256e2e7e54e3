from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.fuse.affine import absorb_operand
from npuopt.pipeline import NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseConvBias(NodePass):
    """A constant added to, or taken from, the channels of a Conv, ConvTranspose or Gemm goes into its bias.

    `Add(Conv(x, w, b), c) -> Conv(x, w, b + c)`, `Sub(Conv(x, w, b), c) -> Conv(x, w, b - c)`

    Left alone: a constant that does not run along the channels, or raises the rank; a constant or a bias given at
    run time; an output of the linear op that is read elsewhere or is a graph output.
    """

    name = "fuse-conv-bias"
    op_types = ("Add", "Sub")
    repeat = True
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the sum `node` into the linear op that makes one of its operands."""
        sign = 1 if node.op_type == "Add" else -1
        return absorb_operand(node, edit, lambda numbers: (None, sign * numbers))
