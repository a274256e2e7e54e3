from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import (
    attribute,
    attribute_list,
    input_at,
    integers,
    producer,
    rank,
    scalar,
)
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class FusePad(NodePass):
    """A Pad with zeros ahead of a Conv or an AveragePool becomes the op's own padding, where that is exact.

    `Conv<pads = p>(Pad(x, q)) -> Conv<pads = p + q>(x)`, `AveragePool(Pad(x, q)) ->
    AveragePool<pads = q, count_include_pad = 1>(x)`

    Left alone: other modes than constant, other values than zero, negative or unknown amounts, padding of the batch
    or the channels; automatic padding; an AveragePool that rounds its size up, pads as wide as its kernel, or does
    not count its own padding; a MaxPool, which pads with minus infinity.
    """

    name = "fuse-pad"
    op_types = ("Conv", "AveragePool", "MaxPool")
    repeat = True
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the Pad that makes the first input of `node`."""
        pad = producer(input_at(node, 0), "Pad")
        if pad is None:
            return None
        if node.op_type == "MaxPool":
            return Declined("a MaxPool pads with minus infinity, not with zeros")
        added = _spatial_amounts(pad)
        if isinstance(added, str):
            return Declined(added)
        if why := _not_exact(node, added):
            return Declined(why)
        own = attribute_list(node, "pads", [0] * len(added))
        counted = {"count_include_pad": 1} if node.op_type == "AveragePool" else {}
        pads = [mine + more for mine, more in zip(own, added, strict=True)]
        attributes = {**node.attributes, "auto_pad": None, "pads": pads, **counted}
        inputs = [pad.inputs[0], *node.inputs[1:]]
        result = edit.emit(node.op_type, inputs, attributes, before=node, name=node.name or "")
        edit.replace(node.outputs[0], result)
        edit.erase_unread(node)
        return Changed(f"took in the padding {added}")


def _spatial_amounts(pad: Node) -> list[int] | str:
    """Return what `pad` adds at the begins and ends of the spatial axes, or why a convolution cannot do that."""
    depth = rank(input_at(pad, 0))
    amounts = integers(input_at(pad, 1))
    if depth is None or amounts is None:
        return "its amounts are not constant, or the rank is not known"
    if attribute(pad, "mode", "constant") != "constant":
        return f"it pads in mode {attribute(pad, 'mode', 'constant')}"
    value = input_at(pad, 2)
    if value is not None and scalar(value) != 0:
        return "it does not pad with zeros"
    axes = list(range(depth))
    if input_at(pad, 3) is not None:
        given = integers(input_at(pad, 3))
        if given is None:
            return "its axes are not constant"
        axes = [axis % depth for axis in given]
    begins, ends = [0] * depth, [0] * depth
    for position, axis in enumerate(axes):
        begins[axis] = amounts[position]
        ends[axis] = amounts[position + len(axes)]
    if min(begins + ends) < 0:
        return f"it takes away: {amounts}"
    if any(begins[:2] + ends[:2]):
        return "it pads the batch or the channels"
    return begins[2:] + ends[2:]


def _not_exact(node: Node, added: list[int]) -> str:
    """Return why `node` with its own padding of `added` would compute something else, or an empty string."""
    if attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return f"{node.op_type} pads by itself: {attribute(node, 'auto_pad', '')}"
    if node.op_type == "Conv":
        return ""
    own = attribute_list(node, "pads", [0] * len(added))
    if any(own) and not attribute(node, "count_include_pad", 0):
        return "AveragePool does not count its own padding"
    if attribute(node, "ceil_mode", 0):
        return "AveragePool rounds its size up, past the padding"
    kernel = attribute_list(node, "kernel_shape")
    if any(mine + more >= size for mine, more, size in zip(own, added, kernel + kernel, strict=True)):
        return f"the padding is as wide as the kernel {kernel}"
    return ""
