from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Anything, Constant, Either, Number, Op, is_op, match
from npuopt.passes.fuse.normalization import Normalization, examine, without_casts
from npuopt.passes.fuse.normalization_constants import following, of_shape, one_of
from npuopt.passes.fuse.normalization_spellings import inverse_root, mean, mean_square, over_root, square
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Match, Node
    from npuopt.target import Target

X = Anything("x")
CENTERED = Op("Sub", X, mean(X))
DIFFERENCE = Op("Sub", mean(square(X)), square(mean(X)))
"""The mean of squares less the square of the mean, which is the variance too."""
BY_DIFFERENCE = Op("Add", Either(DIFFERENCE, Op("Max", DIFFERENCE, Number(0.0))), Constant("epsilon"))
NORMALIZED = Either(over_root(CENTERED, mean_square(CENTERED)), over_root(CENTERED, BY_DIFFERENCE))
SCALED = Op(
    "Mul",
    CENTERED,
    Op("Mul", Either(inverse_root(mean_square(CENTERED)), inverse_root(BY_DIFFERENCE)), Constant("scale")),
)
"""The scale goes to the deviation first, as JAX writes it."""
FACTOR = Op("Mul", inverse_root(mean_square(CENTERED)), Constant("scale"))
MOVED = Op("Add", Op("Mul", X, FACTOR), Op("Sub", Constant("bias"), Op("Mul", mean(X), FACTOR)))
"""x * f + (bias - mean * f) with f = scale / deviation, as TensorFlow writes it."""


@dataclass(frozen=True)
class FuseLayerNormalization(NodePass):
    """A centered value divided by its deviation becomes LayerNormalization, with the scale and bias that follow.

    `c / Sqrt(ReduceMean(c * c, [-1]) + epsilon) * scale + bias -> LayerNormalization<axis = -1, epsilon>(x, scale,
    bias)` with `c = x - ReduceMean(x, [-1])`; in half precision with float between two Casts too, as the op computes
    in float by itself. `x * f + (bias - mean * f)` with `f = scale / deviation` is the same, and so is `c * f + bias`.

    Left alone: axes that are not the last, not the same for both means, or not constant; an epsilon of several
    numbers; an inner value that is read elsewhere or is a graph output; normalized axes of unknown length. A scale
    or a bias that is given at run time, or is no constant of the normalized shape, stays behind the op.
    """

    name = "fuse-layer-normalization"
    op_types = ("Div", "Mul", "Add")
    patterns = (NORMALIZED, SCALED, MOVED)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the normalization whose division is `node`, and the scale and bias behind it; or that ends at a sum."""
        if is_op(node, "Add"):
            return _fuse_moved(node, edit)
        found = match(NORMALIZED, node) or match(SCALED, node)
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
        shifted = following(end, "Add", what.shape, edit)
        end = shifted[0] if shifted else end
        last = end.producer() or node
        scale = scaled[1] if scaled else one_of(what.shape, source, edit, last)
        attributes = {"axis": what.axis, "epsilon": what.epsilon}
        result = edit.emit(
            "LayerNormalization", [source, scale, *(shifted[1:] if shifted else ())], attributes, before=last
        )
        edit.replace(end, result)
        edit.erase_unread(last)
        return Changed(f"became LayerNormalization over the last {-what.axis} axes")


def _fuse_scaled(node: Node, found: Match, what: Normalization, edit: Editor) -> Outcome:
    x, end = found.values["x"], node.outputs[0]
    scale = of_shape(found.values["scale"], what.shape, x, node, edit)
    if scale is None:
        return Declined("its scale does not run along the normalized axes")
    shifted = following(end, "Add", what.shape, edit)
    end = shifted[0] if shifted else end
    last = end.producer() or node
    attributes = {"axis": what.axis, "epsilon": what.epsilon}
    result = edit.emit("LayerNormalization", [x, scale, *(shifted[1:] if shifted else ())], attributes, before=last)
    edit.replace(end, result)
    edit.erase_unread(last)
    return Changed(f"became LayerNormalization over the last {-what.axis} axes")


def _fuse_moved(node: Node, edit: Editor) -> Outcome:
    found = match(MOVED, node)
    if found is None:
        return None
    what = examine(found)
    if isinstance(what, Declined):
        return what
    x = found.values["x"]
    scale, bias = (of_shape(found.values[name], what.shape, x, node, edit) for name in ("scale", "bias"))
    if scale is None or bias is None:
        return Declined("its scale or bias does not run along the normalized axes")
    attributes = {"axis": what.axis, "epsilon": what.epsilon}
    edit.replace(node.outputs[0], edit.emit("LayerNormalization", [x, scale, bias], attributes, before=node))
    edit.erase_unread(node)
    return Changed(f"became LayerNormalization over the last {-what.axis} axes")
