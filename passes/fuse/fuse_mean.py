from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Anything, Constant, Either, Op, attribute, dims, element_type, integers, match, scalar
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target

SUM = Op("ReduceSum", Anything("x"), Constant("axes"), name="sum")
SHARE = Either(Op("Mul", SUM, Constant("part")), Op("Div", SUM, Constant("count")))
CLOSE = 1e-6
"""Relative error of one over the count, which exporters write in float32."""


@dataclass(frozen=True)
class FuseMean(NodePass):
    """A sum divided by how many it sums becomes ReduceMean.

    `ReduceSum(x, axes) * (1 / K) -> ReduceMean(x, axes)`, and `/ K`, where K numbers go into each sum.

    Left alone: any other number; several numbers; integers; dims that are not known; a sum that is read elsewhere or
    is a graph output.
    """

    name = "fuse-mean"
    op_types = ("Div", "Mul")
    patterns = (SHARE,)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the product or division `node`."""
        found = match(SHARE, node)
        if found is None:
            return None
        x, total = found.values["x"], found.nodes["sum"]
        shape, axes = dims(x), integers(found.values["axes"])
        if why := found.exposed():
            return Declined(why)
        kind = element_type(x)
        if shape is None or not axes or kind is None or not kind.is_floating_point():
            return Declined("its rank or axes are not known, or it is of integers")
        sizes = [size for size in (shape[axis] for axis in axes) if isinstance(size, int) and size]
        count, part = scalar(found.values.get("count")), scalar(found.values.get("part"))
        share = part if part is not None else 1 / count if count else None
        if len(sizes) != len(axes) or share is None or not math.isclose(share * math.prod(sizes), 1, rel_tol=CLOSE):
            return Declined("what it is multiplied with is not known to be one over the count")
        if dims(node.outputs[0]) != dims(total.outputs[0]):
            return Declined("the number stretches it")
        keep = attribute(total, "keepdims", 1)
        mean = edit.emit("ReduceMean", [x, found.values["axes"]], {"keepdims": keep}, before=node)
        edit.replace(node.outputs[0], mean)
        edit.erase_unread(node)
        return Changed(f"became the mean of {math.prod(sizes)} numbers")
