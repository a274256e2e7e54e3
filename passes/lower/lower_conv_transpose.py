from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, attribute_list, constant, input_at, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.windows import sliced
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerConvTranspose(FormulaLowering):
    """ConvTranspose becomes a convolution over its input with zeros between the elements.

    `ConvTranspose<strides = [s]>(x, w, b) -> Conv(spread(x), w', b)` with `s - 1` zeros behind each element of x (a
    Pad between two Reshapes, axis by axis) and w' the weights mirrored, inputs and outputs exchanged.

    A size that is asked for by `output_shape` or `auto_pad` is reached by padding as the standard divides it.

    Left alone: weights given at run time; sizes asked for that are larger than what the weights reach; shapes that are
    not static.
    """

    name = "lower-conv-transpose"
    op_types = ("ConvTranspose",)
    produces = frozenset({"Conv", "Pad", "Reshape", "Slice"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the convolution."""
        shape, weight = static_shape(x), constant(input_at(node, 1))
        if shape is None or 0 in shape:
            return Declined("the shape of its input is not static, or has no elements")
        if weight is None:
            return Declined("its weights are not constant")
        depth = len(shape) - 2
        strides = attribute_list(node, "strides", [1] * depth)
        dilations = attribute_list(node, "dilations", [1] * depth)
        extra = attribute_list(node, "output_padding", [0] * depth)
        reach = [
            stride * (size - 1) + more + dilation * (taps - 1) + 1
            for stride, size, more, dilation, taps in zip(
                strides, shape[2:], extra, dilations, weight.shape[2:], strict=True
            )
        ]
        pads = _pads(node, reach, [stride * size for stride, size in zip(strides, shape[2:], strict=True)])
        if pads is None:
            return Declined("it is asked for more than its weights reach")
        begins: list[int] = []
        ends: list[int] = []
        value = x
        for axis, stride in enumerate(strides):
            value = _spread(value, axis + 2, stride, build)
            most = dilations[axis] * (weight.shape[axis + 2] - 1)
            begin, end = most - pads[axis], most - pads[depth + axis] + extra[axis] - (stride - 1)
            if begin < 0 or end < 0:
                length = shape[axis + 2] * stride
                value = sliced(value, axis + 2, max(-begin, 0), length - max(-end, 0), build)
            begins.append(max(begin, 0))
            ends.append(max(end, 0))
        return build(
            "Conv",
            value,
            build.array(_mirrored(weight, attribute(node, "group", 1))),
            input_at(node, 2),
            group=attribute(node, "group", 1),
            dilations=dilations,
            pads=[*begins, *ends],
        )


def _pads(node: Node, reach: list[int], multiples: list[int]) -> list[int] | None:
    """Return the padding, that of all axes' beginnings first; None where it would be negative for a size asked for.

    Args:
        node: the ConvTranspose.
        reach: sizes without padding.
        multiples: sizes that `auto_pad` asks for, where nothing else does.
    """
    depth, mode = len(reach), attribute(node, "auto_pad", "NOTSET")
    wanted = attribute_list(node, "output_shape", multiples if mode.startswith("SAME") else [])[-depth:]
    if not wanted:
        return attribute_list(node, "pads", [0] * 2 * depth)
    totals = [most - size for most, size in zip(reach, wanted, strict=True)]
    if min(totals) < 0:
        return None
    smaller, larger = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return smaller + larger if mode == "SAME_UPPER" else larger + smaller


def _spread(value: Value, axis: int, stride: int, build: Builder) -> Value:
    """Put `stride - 1` zeros behind each element along `axis`."""
    if stride == 1:
        return value
    shape = static_shape(value) or ()
    rows, columns = math.prod(shape[: axis + 1]), math.prod(shape[axis + 1 :])
    single = build("Reshape", value, build.integers(rows, 1, columns))
    padded = build("Pad", single, build.integers(0, 0, 0, 0, stride - 1, 0), 0.0)
    return build("Reshape", padded, build.integers(*shape[:axis], shape[axis] * stride, *shape[axis + 1 :]))


def _mirrored(weight: np.ndarray, groups: int) -> np.ndarray:
    """Turn [inputs, outputs / groups, taps...] into a convolution's [outputs, inputs / groups, taps...]."""
    inputs, outputs, *taps = weight.shape
    grouped = weight.reshape(groups, inputs // groups, outputs, *taps).swapaxes(1, 2)
    return np.flip(grouped.reshape(groups * outputs, inputs // groups, *taps), tuple(range(2, 2 + len(taps))))
