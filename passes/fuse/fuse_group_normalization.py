from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, dims, has_one_use, input_at, integers, is_op, producer, rank
from npuopt.passes.fuse.channels import affine_after, is_filled_with
from npuopt.passes.fuse.sizes import size_of
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseGroupNormalization(NodePass):
    """A normalization between two Reshapes that put groups of channels together becomes GroupNormalization.

    `Reshape(InstanceNormalization(Reshape(x, [0, groups, -1]), 1, 0)) * scale + bias -> GroupNormalization(x, scale,
    bias)`; with LayerNormalization over the last axis in the middle too.

    Left alone: a scale or a bias of the groups; values between that are read elsewhere or are a graph output; a second
    Reshape that does not bring back the shape of x; channels whose number is not known. A scale or a bias that is
    given at run time, or not one number for each channel, stays behind the op.
    """

    name = "fuse-group-normalization"
    op_types = ("Reshape",)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the normalization whose second Reshape is `node`."""
        inner = producer(input_at(node, 0), "InstanceNormalization", "LayerNormalization")
        joined = producer(input_at(inner, 0), "Reshape") if inner is not None else None
        source = input_at(joined, 0) if joined is not None else None
        if inner is None or joined is None or source is None or rank(joined.outputs[0]) != 3:
            return None
        groups, channels = size_of(joined.outputs[0], 1), size_of(source, 1) if (rank(source) or 0) > 2 else None
        if why := _not_covered(node, inner, joined, source):
            return Declined(why)
        if not isinstance(groups, int) or not isinstance(channels, int) or not channels or channels % groups:
            return Declined(f"the {groups} groups do not part {channels} channels")
        last, scale, bias = affine_after(node, channels, source, edit)
        attributes = {"num_groups": groups, "epsilon": attribute(inner, "epsilon", 1e-5)}
        edit.replace(last.outputs[0], edit.emit("GroupNormalization", [source, scale, bias], attributes, before=last))
        edit.erase_unread(last)
        return Changed(f"became GroupNormalization of {groups} groups")


def _not_covered(node: Node, inner: Node, joined: Node, source: Value) -> str:
    """Return why what lies between the Reshapes is not the op, or an empty string."""
    if not (has_one_use(joined.outputs[0]) and has_one_use(inner.outputs[0])):
        return "what lies between its Reshapes is read elsewhere or is a graph output"
    if is_op(inner, "LayerNormalization") and attribute(inner, "axis", -1) not in (-1, 2):
        return "it does not normalize over the last axis alone"
    bias = input_at(inner, 2)
    if not is_filled_with(input_at(inner, 1), 1) or not (bias is None or is_filled_with(bias, 0)):
        return "the groups have a scale or a bias"
    copied = (integers(input_at(joined, 1)) or [-1])[0] == 0 and not attribute(joined, "allowzero", 0)
    if not copied and (size_of(source, 0) is None or size_of(source, 0) != size_of(joined.outputs[0], 0)):
        return "its first Reshape may change the batch"
    measured = producer(input_at(node, 1), "Shape")
    same = measured is not None and measured.inputs[0] is source and not measured.attributes
    shape = dims(source) or (None,)
    if not same and (None in shape or shape != dims(node.outputs[0])):
        return f"its second Reshape may not bring back the shape {list(shape)}"
    return ""
