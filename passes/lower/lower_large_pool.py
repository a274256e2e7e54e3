from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.windows import Windows, other_attributes, windows
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerLargePool(FormulaLowering):
    """A pool with a large kernel becomes two smaller pools, one after the other.

    `MaxPool<kernel_shape = [a + b - 1]>(x) -> MaxPool<kernel_shape = [b]>(MaxPool<kernel_shape = [a]>(x))`, the first
    with stride 1; `AveragePool<kernel_shape = [a * b], strides = [a * c]>(x) ->
    AveragePool<kernel_shape = [b], strides = [c]>(AveragePool<kernel_shape = [a], strides = [a]>(x))`. The longest
    axis of the kernel is split, and again where a target asks for it.

    Left alone: kernels of one tap (MaxPool: two); `ceil_mode`; a MaxPool whose indices are read; an AveragePool with
    padding or dilations, or whose kernel and stride have no common factor but the kernel itself; shapes that are not
    static.
    """

    name = "lower-large-pool"
    op_types = ("AveragePool", "MaxPool")
    produces = frozenset({"AveragePool", "MaxPool"})
    repeat = True

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the second pool."""
        found = windows(node)
        if isinstance(found, Declined):
            return found
        if attribute(node, "ceil_mode", 0):
            return Declined("ceil_mode is set")
        axis = found.kernel.index(max(found.kernel))
        both = _maxima(found, axis) if node.op_type == "MaxPool" else _averages(found, axis)
        if both is None or isinstance(both, Declined):
            return both
        value = x
        for pool in both:
            value = build(node.op_type, value, **other_attributes(node), **pool.attributes())
        return value


def _maxima(found: Windows, axis: int) -> tuple[Windows, Windows] | None:
    """Split the taps: what the first pool sees at one place, the second sees at several places in a row."""
    taps = found.kernel[axis]
    if taps <= 2:
        return None
    second = (taps + 1) // 2
    first = taps - second + 1
    found = replace(found, ends=found.needed_ends())
    begin, end = min(found.begins[axis], first - 1), min(found.ends[axis], first - 1)
    rest = {"begin": found.begins[axis] - begin, "end": found.ends[axis] - end}
    inner = found.only(axis).along(axis, kernel=first, stride=1, begin=begin, end=end)
    return inner, found.along(axis, kernel=second, stride=found.strides[axis], **rest)


def _averages(found: Windows, axis: int) -> tuple[Windows, Windows] | Declined | None:
    taps, stride = found.kernel[axis], found.strides[axis]
    if taps == 1:
        return None
    if any((*found.begins, *found.ends)) or max(found.dilations) > 1:
        return Declined("it has padding or dilations")
    factor = next((number for number in range(taps - 1, 1, -1) if taps % number == 0 and stride % number == 0), 0)
    if not factor:
        return Declined(f"its kernel of {taps} and its stride of {stride} have no factor that splits both")
    inner = found.only(axis).along(axis, kernel=factor, stride=factor, begin=0, end=0)
    return inner, found.along(axis, kernel=taps // factor, stride=stride // factor, begin=0, end=0)
