from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Anything, Constant, Either, Op, dims, input_at, integers, match
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.graph.matcher import Pattern
    from npuopt.target import Target


def along(op_type: str, value: Pattern, name: str) -> Either:
    """Return a reduction, whose axis stays or comes back behind it."""
    reduced = Op(op_type, value, Constant(f"{name} axes"))
    return Either(reduced, Op("Reshape", reduced, Anything()), Op("Unsqueeze", reduced, Anything()))


X = Anything("x")
SHIFTED = Op("Sub", X, along("ReduceMax", X, "peak"), name="shifted")
POWERS = Op("Exp", SHIFTED)
TOTAL = along("ReduceSum", POWERS, "total")
SHARES = Either(Op("Div", POWERS, TOTAL, name="shares"), Op("Mul", POWERS, Op("Reciprocal", TOTAL, name="shares")))


@dataclass(frozen=True)
class FuseSoftmax(NodePass):
    """Exponentials over their sum become Softmax.

    `e / ReduceSum(e, [axis])` with `e = Exp(x - ReduceMax(x, [axis]))` -> `Softmax<axis>(x)`; the axis is kept by the
    reductions, or put back by a Reshape or Unsqueeze.

    Left alone: exponentials without a peak taken off, which may overflow where Softmax does not; several axes, or
    other ones for the sum than for the peak; an inner value that is read elsewhere or is a graph output.
    """

    name = "fuse-softmax"
    op_types = ("Div", "Mul")
    patterns = (SHARES,)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the division `node`, or the product with one over the sum."""
        found = match(SHARES, node)
        if found is None:
            return None
        x, shape = found.values["x"], dims(found.values["x"])
        peak, total = (integers(found.values[f"{name} axes"]) for name in ("peak", "total"))
        if why := found.exposed():
            return Declined(why)
        if shape is None or not peak or not total or len(peak) != 1 or len(total) != 1:
            return Declined("it is not along one axis, or the rank is not known")
        axis = peak[0] % len(shape)
        if total[0] % len(shape) != axis:
            return Declined(f"its peak is along axis {axis} and its sum along axis {total[0] % len(shape)}")
        kept = (*shape[:axis], 1, *shape[axis + 1 :])
        divisor = input_at(found.nodes["shares"], -1)
        if None in kept or not all(_has(value, kept) for value in (input_at(found.nodes["shifted"], 1), divisor)):
            return Declined("its peak or its sum may be of another shape than x with one along the axis")
        edit.replace(node.outputs[0], edit.emit("Softmax", [x], {"axis": axis}, before=node))
        edit.erase_unread(node)
        return Changed(f"became Softmax along axis {axis}")


def _has(value: Value | None, shape: tuple[int | str | None, ...]) -> bool:
    return dims(value) == shape
