from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import match, rank, scalar
from npuopt.passes.fuse.channels import affine_after
from npuopt.passes.fuse.fuse_layer_normalization import NORMALIZED
from npuopt.passes.fuse.normalization import trailing_axis
from npuopt.passes.fuse.sizes import size_of
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseInstanceNormalization(NodePass):
    """A centered value divided by its deviation over all spatial axes becomes InstanceNormalization.

    `c / Sqrt(ReduceMean(c * c, [2, 3]) + epsilon) * scale + bias -> InstanceNormalization<epsilon>(x, scale, bias)`
    with `c = x - ReduceMean(x, [2, 3])`

    Left alone: other axes than all behind the channels; ranks below 4, where it may be a normalization of the last
    axis; an epsilon of several numbers; an inner value that is read elsewhere or is a graph output; channels whose
    number is not known. A scale or a bias that is not one number for each channel stays behind the op.
    """

    name = "fuse-instance-normalization"
    op_types = ("Div", "Mul")
    patterns = (NORMALIZED,)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the normalization whose division is `node`, and the scale and bias behind it."""
        found = match(NORMALIZED, node)
        if found is None:
            return None
        x = found.values["x"]
        depth = rank(x)
        axis = trailing_axis(found, x)
        if depth is None or depth < 4 or axis != 2 - depth:
            return None  # for fuse-layer-normalization to judge
        if why := found.exposed():
            return Declined(why)
        epsilon, channels = scalar(found.values["epsilon"]), size_of(x, 1)
        if epsilon is None or (rank(found.values["epsilon"]) or 0) > depth:
            return Declined(f"epsilon {found.values['epsilon'].name!r} is not a single number")
        if not isinstance(channels, int) or channels == 0:
            return Declined(f"the number of channels of {x.name!r} is not known")
        last, scale, bias = affine_after(node, channels, x, edit)
        edit.replace(
            last.outputs[0], edit.emit("InstanceNormalization", [x, scale, bias], {"epsilon": epsilon}, before=last)
        )
        edit.erase_unread(last)
        return Changed("became InstanceNormalization")
