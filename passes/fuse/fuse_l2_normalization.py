from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Anything, Constant, DataType, Either, Op, attribute, dims, integers, is_op, match, rank, scalar
from npuopt.passes.fuse.normalization_spellings import square
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target

X, AXES, LEAST = Anything("x"), Constant("axes"), Constant("least")
LENGTH = Either(
    Op("ReduceL2", X, AXES, name="sum"),
    Op("Sqrt", Op("ReduceSum", square(X), AXES, name="sum")),
    Op("Sqrt", Op("ReduceSumSquare", X, AXES, name="sum")),
)
BOUNDED = Either(Op("Max", LENGTH, LEAST), Op("Clip", LENGTH, LEAST))
NORMALIZED = Either(Op("Div", X, BOUNDED), Op("Div", X, Op("Expand", BOUNDED, Anything("shape"))))
TINY = 1e-12
"""A length at or below which a vector counts as zero; torch's own bound."""


@dataclass(frozen=True)
class FuseL2Normalization(NodePass):
    """A value divided by its length along an axis becomes LpNormalization.

    `x / Max(ReduceL2(x, [axis]), 1e-12) -> LpNormalization<axis, p = 2>(x)`; a vector of zeros stays one. Vectors
    shorter than the bound, which rounding made, come out with length 1.

    Left alone: a length without a bound, which gives NaN for zeros; a bound above 1e-12; several axes, axes given at
    run time, or not kept; half precision; an inner value that is read elsewhere or is a graph output.
    """

    name = "fuse-l2-normalization"
    op_types = ("Div",)
    patterns = (NORMALIZED,)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the division `node` by a length."""
        found = match(NORMALIZED, node)
        if found is None:
            return None
        x, total, least = found.values["x"], found.nodes["sum"], scalar(found.values["least"])
        depth, axes = rank(x), integers(found.values["axes"])
        if why := found.exposed():
            return Declined(why)
        if x.dtype not in (DataType.FLOAT, DataType.DOUBLE):
            return Declined(f"it computes in {x.dtype}")
        if depth is None or axes is None or len(axes) != 1 or not attribute(total, "keepdims", 1):
            return Declined("its length is not along one axis that is kept, or the rank is not known")
        if least is None or not 0 < least <= TINY:
            return Declined(f"its length is bounded by {least}, which short vectors tell from zero")
        stretched = any(is_op(item, "Expand") for item in found.interior)
        if rank(node.outputs[0]) != depth or (stretched and dims(node.outputs[0]) != dims(x)):
            return Declined(f"its length may stretch {x.name!r}")
        axis = axes[0] % depth
        edit.replace(node.outputs[0], edit.emit("LpNormalization", [x], {"axis": axis, "p": 2}, before=node))
        edit.erase_unread(node)
        return Changed(f"became LpNormalization along axis {axis}")
