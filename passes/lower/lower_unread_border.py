from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.windows import other_attributes, sliced, windows
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerUnreadBorder(FormulaLowering):
    """What no window of a strided convolution or pool reads at the far end is left out.

    `Conv<pads = [1, 1], strides = [2]>(x, w) -> Conv<pads = [1, 0], strides = [2]>(x, w)` for an x of even length;
    without padding there, `Conv(Slice(x), w)`. AveragePool and MaxPool likewise. `auto_pad` becomes numbers.

    Left alone: the last windows end where the padded input ends; a pool with `ceil_mode`; a MaxPool whose indices are
    read; shapes that are not static.
    """

    name = "lower-unread-border"
    op_types = ("AveragePool", "Conv", "MaxPool")
    produces = frozenset({"AveragePool", "Conv", "MaxPool", "Slice"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the op on what its windows read."""
        found = windows(node)
        if isinstance(found, Declined):
            return found
        if attribute(node, "ceil_mode", 0):
            return Declined("ceil_mode is set")
        ends = found.needed_ends()
        read = [min(size, found.reach(axis) - found.begins[axis]) for axis, size in enumerate(found.sizes)]
        if ends == found.ends and read == found.sizes:
            return None
        if min(read) < 1:
            return Declined("its windows lie in the padding")
        for axis, (length, size) in enumerate(zip(read, found.sizes, strict=True)):
            x = x if length == size else sliced(x, axis + 2, 0, length, build)
        weights = (input_at(node, 1), input_at(node, 2))
        return build(node.op_type, x, *weights, **other_attributes(node), **replace(found, ends=ends).attributes())
