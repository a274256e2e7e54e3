from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from npuopt.graph import Session, attribute, attribute_list, constant, input_at, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

OPSET, IR_VERSION = 24, 12
SCALES, SIZES = 2, 3
"""Positions of inputs."""
ABOUT_ALL_AXES = ("axes", "keep_aspect_ratio_policy")


@dataclass(frozen=True)
class LowerResize(FormulaLowering):
    """Resize becomes a Gather along each axis for the nearest neighbour, else a product with constant weights.

    `Resize<mode = "nearest">(x) -> Gather<axis = 3>(Gather<axis = 2>(x, rows), columns)`,
    `Resize<mode = "linear">(x) -> MatMul(rows, MatMul(x, columns))`; what each element of the result is made of is
    what ONNX Runtime makes of the unit vectors. A value that is not finite spreads along its axis.

    Left alone: scales or sizes given at run time; a region of interest; an aspect ratio that is kept; integers that
    are interpolated; an axis longer than `longest`; shapes that are not static or have no elements.

    Attributes:
        longest: weights are the product of the lengths before and after.
    """

    name = "lower-resize"
    op_types = ("Resize",)
    produces = frozenset({"Gather", "Identity", "MatMul", "Transpose"})

    longest: int = 4096

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the result of the last axis."""
        before, after = static_shape(x), static_shape(node.outputs[0])
        if why := self._not_covered(node, before, after):
            return Declined(why)
        assert before is not None  # noqa: S101 -- refused otherwise
        assert after is not None  # noqa: S101 -- as above
        nearest = attribute(node, "mode", "nearest") == "nearest"
        if not nearest and (build.type is None or not build.type.is_floating_point()):
            return Declined(f"it interpolates {build.type}, which rounds")
        value = x
        for place, axis in enumerate(_axes(node, len(before))):
            weights = _weights(node, place, before[axis], after[axis])
            if before[axis] == after[axis] and np.array_equal(weights, np.eye(after[axis])):
                continue
            if nearest:
                value = build("Gather", value, build.integers(*weights.argmax(1).tolist()), axis=axis)
            else:
                value = _product(value, weights, axis, len(before), build)
        return build("Identity", x) if value is x else value

    def _not_covered(self, node: Node, before: tuple[int, ...] | None, after: tuple[int, ...] | None) -> str:
        if before is None or after is None or 0 in (*before, *after):
            return "its shapes are not static, or have no elements"
        if any(value is not None and constant(value) is None for value in node.inputs[1:]):
            return "its scales or sizes are not constant"
        if attribute(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
            return "it has a region of interest"
        if attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
            return "it keeps the aspect ratio"
        if max((*before, *after)) > self.longest:
            return f"an axis is longer than {self.longest}"
        return ""


def _axes(node: Node, depth: int) -> list[int]:
    return [axis % depth for axis in attribute_list(node, "axes", range(depth))]


def _product(value: Value, weights: np.ndarray, axis: int, depth: int, build: Builder) -> Value:
    """Multiply along one axis; what is neither the last nor the one before it comes last for that time."""
    if axis == depth - 2:
        return build("MatMul", build.array(weights), value)
    swap = list(range(depth))
    swap[axis], swap[-1] = swap[-1], swap[axis]
    moved = value if axis == depth - 1 else build("Transpose", value, perm=swap)
    result = build("MatMul", moved, build.array(weights.T))
    return result if axis == depth - 1 else build("Transpose", result, perm=swap)


def _weights(node: Node, place: int, before: int, after: int) -> np.ndarray:
    """Return how each element along one axis of the result is made of those before: [after, before].

    Args:
        node: the Resize.
        place: of the axis among those that scales and sizes count.
        before: the axis' length.
        after: its length in the result.
    """
    scales, sizes = constant(input_at(node, SCALES)), constant(input_at(node, SIZES))
    image = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1, 1, before, before]))
    if sizes is not None and sizes.size:
        given = ir.tensor(np.array([1, 1, after, before], np.int64), name="given")
    else:
        factor = 1.0 if scales is None else float(scales[place])
        given = ir.tensor(np.array([1, 1, factor, 1], np.float32), name="given")
    how = ir.Value(name="given", type=ir.TensorType(given.dtype), shape=ir.Shape([4]), const_value=given)
    by_size = given.dtype == ir.DataType.INT64
    kept = [attr for name, attr in node.attributes.items() if name not in ABOUT_ALL_AXES]
    inputs = [image, None, None, how] if by_size else [image, None, how]
    resize = ir.Node("", "Resize", inputs, kept, num_outputs=1)
    resize.outputs[0].name = "y"
    resize.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(
        [image], resize.outputs, nodes=[resize], initializers=[how], opset_imports={"": OPSET}, name="axis"
    )
    session = Session(ir.Model(graph, ir_version=IR_VERSION), threads=1)
    return session.run({"x": np.eye(before, dtype=np.float32)[None, None]})["y"][0, 0]
