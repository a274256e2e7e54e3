"""What the lowerings share that look at the windows of convolutions and pools."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from npuopt.graph import attribute, attribute_list, input_at, static_shape
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value
    from npuopt.graph.editor import AttributeLike

GEOMETRY = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
"""The attributes that `Windows` stands for."""


@dataclass(frozen=True)
class Windows:
    """Where the windows of a convolution or a pool lie, axis by axis.

    Attributes:
        sizes: spatial lengths of the input.
        results: spatial lengths of the output.
        kernel: taps of a window.
        strides: from window to window.
        dilations: from tap to tap.
        begins: padding ahead of the input, `auto_pad` resolved.
        ends: padding behind the input, `auto_pad` resolved; what `ceil_mode` adds is not in it.
    """

    sizes: list[int]
    results: list[int]
    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begins: list[int]
    ends: list[int]

    def reach(self, axis: int) -> int:
        """Return how far the last window reaches from the beginning of the padding."""
        return (self.results[axis] - 1) * self.strides[axis] + self.dilations[axis] * (self.kernel[axis] - 1) + 1

    def needed_ends(self) -> list[int]:
        """Return the padding behind the input that the last windows reach into."""
        return [max(self.reach(axis) - size - self.begins[axis], 0) for axis, size in enumerate(self.sizes)]

    def along(self, axis: int, *, kernel: int, stride: int, begin: int, end: int) -> Windows:
        """Return these windows with other numbers along one axis; lengths are not adapted."""

        def put(values: list[int], value: int) -> list[int]:
            return [*values[:axis], value, *values[axis + 1 :]]

        return replace(
            self,
            kernel=put(self.kernel, kernel),
            strides=put(self.strides, stride),
            begins=put(self.begins, begin),
            ends=put(self.ends, end),
        )

    def only(self, axis: int) -> Windows:
        """Return the windows that have their extent along one axis alone; lengths are not adapted."""
        ones, zeros = [1] * len(self.kernel), [0] * len(self.kernel)
        dilations = [item if index == axis else 1 for index, item in enumerate(self.dilations)]
        alone = replace(self, kernel=ones, strides=ones, dilations=dilations, begins=zeros, ends=zeros)
        same = (self.kernel[axis], self.strides[axis], self.begins[axis], self.ends[axis])
        return alone.along(axis, kernel=same[0], stride=same[1], begin=same[2], end=same[3])

    def attributes(self) -> dict[str, AttributeLike]:
        """Return the attributes of a node with these windows; those that say the default are left out."""
        pads = [*self.begins, *self.ends]
        return {
            "kernel_shape": self.kernel,
            "strides": self.strides if max(self.strides) > 1 else None,
            "dilations": self.dilations if max(self.dilations) > 1 else None,
            "pads": pads if any(pads) else None,
        }


def windows(node: Node) -> Windows | Declined:
    """Return the windows of a Conv or a pool of static shape, or say why they are not known.

    The formulas of padding are those of the ONNX operators.
    """
    data, result, weight = static_shape(node.inputs[0]), static_shape(node.outputs[0]), static_shape(input_at(node, 1))
    kernel = attribute_list(node, "kernel_shape", (weight or ())[2:])
    if data is None or result is None or not kernel or 0 in data or 0 in result:
        return Declined("its shapes are not static, or have no elements")
    sizes, results, depth = list(data[2:]), list(result[2:]), len(kernel)
    strides = attribute_list(node, "strides", [1] * depth)
    dilations = attribute_list(node, "dilations", [1] * depth)
    pads = attribute_list(node, "pads", [0] * 2 * depth)
    found = Windows(sizes, results, kernel, strides, dilations, pads[:depth], pads[depth:])
    how = attribute(node, "auto_pad", "NOTSET")
    if how == "NOTSET":
        return found
    totals = [max(found.reach(axis) - sizes[axis], 0) if how != "VALID" else 0 for axis in range(depth)]
    halves = [total // 2 for total in totals]
    rests = [total - half for total, half in zip(totals, halves, strict=True)]
    begins, ends = (rests, halves) if how == "SAME_LOWER" else (halves, rests)
    return Windows(sizes, results, kernel, strides, dilations, begins, ends)


def other_attributes(node: Node) -> dict[str, AttributeLike]:
    """Return the attributes that say nothing of windows."""
    return {name: attr for name, attr in node.attributes.items() if name not in GEOMETRY}


def sliced(value: Value, axis: int, start: int, end: int, build: Builder, step: int = 1) -> Value:
    """Return `value[start:end:step]` along one axis."""
    bounds = [build.integers(number) for number in (start, end, axis)]
    return build("Slice", value, *bounds, build.integers(step) if step != 1 else None)
