from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.windows import other_attributes, sliced, windows
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerLargeStride(FormulaLowering):
    """A convolution or pool with a large stride becomes one with a smaller stride, of which a Slice keeps a part.

    `Conv<strides = [s]>(x, w) -> Slice<step = p>(Conv<strides = [s / p]>(x, w))` with the smallest prime factor p of
    the largest stride; where a target takes the smaller stride no more than the larger, it is made smaller again.

    Left alone: strides of 1; `ceil_mode`; a MaxPool whose indices are read; shapes that are not static.
    """

    name = "lower-large-stride"
    op_types = ("Conv", "AveragePool", "LpPool", "MaxPool")
    produces = frozenset({"AveragePool", "Conv", "LpPool", "MaxPool", "Slice"})
    repeat = True

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the kept part."""
        found = windows(node)
        if isinstance(found, Declined):
            return found
        largest = max(found.strides)
        if largest == 1:
            return None
        if attribute(node, "ceil_mode", 0):
            return Declined("ceil_mode is set")
        axis = found.strides.index(largest)
        factor = next(number for number in range(2, largest + 1) if largest % number == 0)
        strides = [stride // factor if index == axis else stride for index, stride in enumerate(found.strides)]
        finer = replace(found, strides=strides)
        every = build(node.op_type, x, *node.inputs[1:], **other_attributes(node), **finer.attributes())
        return sliced(every, axis + 2, 0, END, build, step=factor)


END = 2**31 - 1
"""The end of any axis, as ONNX writes it."""
