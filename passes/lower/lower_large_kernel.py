from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from npuopt.graph import constant, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.windows import Windows, other_attributes, sliced, windows
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    import numpy as np

    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerLargeKernel(FormulaLowering):
    """A convolution with a large kernel becomes the sum of two with a half of the kernel each.

    `Conv(x, w, b) -> Conv(x', w', b) + Conv(x'', w'')`, halved along the kernel's longest axis, each half over the
    part of x that its taps see. Where a target takes a half no more than the whole, that is halved again.

    Left alone: kernels of one tap; weights given at run time; shapes that are not static.
    """

    name = "lower-large-kernel"
    op_types = ("Conv",)
    produces = frozenset({"Add", "Conv", "Slice"})
    repeat = True

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the sum of the halves."""
        found, weight = windows(node), constant(input_at(node, 1))
        if isinstance(found, Declined):
            return found
        if max(found.kernel) == 1:
            return None
        if weight is None:
            return Declined("its weights are not constant")
        axis = found.kernel.index(max(found.kernel))
        taps = found.kernel[axis]
        middle = (taps + 1) // 2
        found = replace(found, ends=found.needed_ends())
        halves = [range(middle), range(middle, taps)]
        seen = [half for half in halves if _crop(found, axis, half, taps) is not None]
        bias, result = input_at(node, 2), None
        for half in seen:
            part = _convolved(node, x, found, axis, half, weight, bias, build)
            bias = None
            result = part if result is None else build("Add", result, part)
        return result


def _crop(found: Windows, axis: int, half: range, taps: int) -> tuple[int, int] | None:
    """Return the padding (negative: elements not seen) before and behind a half, or None where it sees only padding."""
    step = found.dilations[axis]
    begin = found.begins[axis] - half.start * step
    end = found.ends[axis] - (taps - half.stop) * step
    return None if max(-begin, 0) + max(-end, 0) >= found.sizes[axis] else (begin, end)


def _convolved(
    node: Node, x: Value, found: Windows, axis: int, half: range, weight: np.ndarray, bias: Value | None, build: Builder
) -> Value:
    """Return the convolution with the taps of one half."""
    begin, end = _crop(found, axis, half, found.kernel[axis]) or (0, 0)
    if begin < 0 or end < 0:
        x = sliced(x, axis + 2, max(-begin, 0), found.sizes[axis] - max(-end, 0), build)

    part = found.along(axis, kernel=len(half), stride=found.strides[axis], begin=max(begin, 0), end=max(end, 0))
    taken = build.array(weight.take(half, axis + 2))
    return build("Conv", x, taken, bias, **other_attributes(node), **part.attributes())
