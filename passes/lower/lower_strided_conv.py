from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, input_at, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.windows import Windows, other_attributes, sliced, windows
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerStridedConv(FormulaLowering):
    """A strided convolution becomes one without stride over the blocks that it strides by, laid out as channels.

    `Conv<strides = [s]>(x, w, b) -> Conv(blocks(x), w', b)` along the axis of the largest stride: `blocks` moves s
    neighbours into s times the channels, and w' has the taps in that order, with zeros up to the next block. Where a
    target does not take the other axis' stride either, that goes the same way. It costs what the zeros cost, where
    `lower-large-stride` computes s times the results.

    Left alone: strides of 1; groups; dilations along that axis; weights given at run time; shapes that are not static.
    """

    name = "lower-strided-conv"
    op_types = ("Conv",)
    produces = frozenset({"Concat", "Conv", "Pad", "Reshape", "Slice", "Split", "Transpose"})
    repeat = True

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the convolution over blocks."""
        found, weight = windows(node), constant(input_at(node, 1))
        if isinstance(found, Declined):
            return found
        stride = max(found.strides)
        axis = found.strides.index(stride)
        if stride == 1:
            return None
        if weight is None:
            return Declined("its weights are not constant")
        if attribute(node, "group", 1) != 1:
            return Declined("it has groups")
        if found.dilations[axis] != 1:
            return Declined("its taps are apart")
        plan = _plan(found, axis, stride)
        blocks = _in_blocks(_fitted(x, found, axis, plan, build), axis, stride, build)
        taps = build.array(_weights_in_blocks(weight, axis, stride, plan))
        coarse = found.along(axis, kernel=plan.kernel, stride=1, begin=plan.begin, end=plan.end)
        return build("Conv", blocks, taps, input_at(node, 2), **other_attributes(node), **coarse.attributes())


@dataclass(frozen=True)
class _Plan:
    """How one axis is cut into blocks.

    Attributes:
        lead: zero taps ahead of the first one, so that padding is whole blocks.
        kernel: blocks that a window sees.
        begin: blocks of padding ahead.
        end: blocks of padding behind.
        ahead: elements to pad the input with.
        behind: elements to pad the input with; negative: elements at its end that no window sees.
    """

    lead: int
    kernel: int
    begin: int
    end: int
    ahead: int
    behind: int


def _plan(found: Windows, axis: int, stride: int) -> _Plan:
    """Let the convolution pad by blocks, unless the zero taps that this takes would make windows a block wider."""
    taps, begin = found.kernel[axis], found.begins[axis]
    kernel = -(-taps // stride)
    lead = -begin % stride
    ahead = 0
    if -(-(taps + lead) // stride) > kernel:
        lead, ahead, begin = 0, begin, 0
    blocks = found.results[axis] + kernel - 1 - (begin + lead) // stride
    behind = blocks * stride - ahead - found.sizes[axis]
    end = max(behind, 0) // stride
    return _Plan(lead, kernel, (begin + lead) // stride, end, ahead, behind - end * stride)


def _fitted(x: Value, found: Windows, axis: int, plan: _Plan, build: Builder) -> Value:
    """Pad or cut the input to whole blocks."""
    depth = len(found.sizes) + 2
    if plan.behind < 0:
        x = sliced(x, axis + 2, 0, found.sizes[axis] + plan.behind, build)
    added = [0] * 2 * depth
    added[axis + 2], added[depth + axis + 2] = plan.ahead, max(plan.behind, 0)
    return build("Pad", x, build.integers(*added)) if any(added) else x


def _in_blocks(x: Value, axis: int, stride: int, build: Builder) -> Value:
    """Move every `stride` neighbours along a spatial axis into the channels, the neighbours as the outer order.

    Written on channels last, where neighbours along the last axis are a Reshape away. Along another one they
    are brought together by the next axis, and taken apart there: no tensor has a rank above that of x.
    """
    batch, channels, *sizes = static_shape(x) or (0, 0)
    depth = len(sizes) + 2
    last = build("Transpose", x, perm=[0, *range(2, depth), 1])
    sizes[axis] //= stride
    if axis == len(sizes) - 1:
        merged = build("Reshape", last, build.integers(batch, *sizes, stride * channels))
    else:
        longer = [*sizes]
        longer[axis + 1] *= stride
        turned = build("Reshape", last, build.integers(batch, *longer, channels))
        lengths = build.integers(*[sizes[axis + 1]] * stride)
        parts = build.many("Split", stride, turned, lengths, axis=axis + 2)
        merged = build("Concat", *parts, axis=depth - 1)
    return build("Transpose", merged, perm=[0, depth - 1, *range(1, depth - 1)])


def _weights_in_blocks(weight: np.ndarray, axis: int, stride: int, plan: _Plan) -> np.ndarray:
    """Return the weights with the taps of each block among the channels, in the order of `_in_blocks`."""
    place = axis + 2
    widths = [(0, 0)] * weight.ndim
    widths[place] = (plan.lead, plan.kernel * stride - plan.lead - weight.shape[place])
    whole = np.pad(weight, widths)
    apart = whole.reshape(*whole.shape[:place], plan.kernel, stride, *whole.shape[place + 1 :])
    ahead = np.moveaxis(apart, place + 1, 1)
    return np.ascontiguousarray(ahead.reshape(weight.shape[0], -1, *ahead.shape[3:]))
