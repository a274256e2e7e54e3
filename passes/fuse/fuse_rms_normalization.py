from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Anything, Constant, Either, Op, match
from npuopt.passes.fuse.normalization import Normalization, examine, without_casts
from npuopt.passes.fuse.normalization_constants import following, of_shape, one_of
from npuopt.passes.fuse.normalization_spellings import inverse_root, mean_square, over_root
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Match, Node
    from npuopt.target import Target

X = Anything("x")
NORMALIZED = Either(
    over_root(X, mean_square(X)), Op("Mul", X, Op("Mul", inverse_root(mean_square(X)), Constant("scale")))
)


@dataclass(frozen=True)
class FuseRmsNormalization(NodePass):
    """A value divided by the root of its mean square becomes RMSNormalization, with the scale that follows.

    `x / Sqrt(ReduceMean(x * x, [-1]) + epsilon) * scale -> RMSNormalization<axis = -1, epsilon>(x, scale)`, with the
    scale taken into the root too; in half
    precision with float between two Casts too, as the op computes in float by itself.

    Left alone: axes that are not the last, or not constant; an epsilon of several numbers; an inner value that is
    read elsewhere or is a graph output; normalized axes of unknown length. A scale that is given at run time, or is
    no constant of the normalized shape, stays a product behind the op.
    """

    name = "fuse-rms-normalization"
    op_types = ("Div", "Mul")
    patterns = (NORMALIZED,)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the normalization whose division is `node`, and the scale behind it."""
        found = match(NORMALIZED, node)
        if found is None:
            return None
        what = examine(found)
        if isinstance(what, Declined):
            return what
        if "scale" in found.values:
            return _fuse_scaled(node, found, what, edit)
        source, end = without_casts(found.values["x"], node.outputs[0])
        scaled = following(end, "Mul", what.shape, edit)
        end = scaled[0] if scaled else end
        last = end.producer() or node
        scale = scaled[1] if scaled else one_of(what.shape, source, edit, last)
        attributes = {"axis": what.axis, "epsilon": what.epsilon}
        result = edit.emit("RMSNormalization", [source, scale], attributes, before=last)
        edit.replace(end, result)
        edit.erase_unread(last)
        return Changed(f"became RMSNormalization over the last {-what.axis} axes")


def _fuse_scaled(node: Node, found: Match, what: Normalization, edit: Editor) -> Outcome:
    """Fuse `x * (scale / root)`."""
    x = found.values["x"]
    scale = of_shape(found.values["scale"], what.shape, x, node, edit)
    if scale is None:
        return Declined("its scale does not run along the normalized axes")
    attributes = {"axis": what.axis, "epsilon": what.epsilon}
    edit.replace(node.outputs[0], edit.emit("RMSNormalization", [x, scale], attributes, before=node))
    edit.erase_unread(node)
    return Changed(f"became RMSNormalization over the last {-what.axis} axes")
