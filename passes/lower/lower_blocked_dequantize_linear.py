from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, element_type, input_at, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerBlockedDequantizeLinear(FormulaLowering):
    """DequantizeLinear with a scale for each block becomes arithmetic on blocks.

    `DequantizeLinear<block_size = B>(x, scale, zero) -> Reshape((Reshape(Cast(x)) - Cast(zero)) * scale)` with the
    axis in two: the block, and the place in it.

    Left alone: a scale for the whole tensor or for each place along one axis; an axis that is no whole number of
    blocks; shapes that are not static or have no elements; an output type of its own.
    """

    name = "lower-blocked-dequantize-linear"
    op_types = ("DequantizeLinear",)
    produces = frozenset({"Cast", "Mul", "Reshape", "Sub"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the scaled differences."""
        block = attribute(node, "block_size", 0)
        if block == 0:
            return None
        shape, scale, zero = static_shape(x), input_at(node, 1), input_at(node, 2)
        scales, kind = static_shape(scale), element_type(scale)
        if shape is None or scales is None or 0 in shape or kind is None:
            return Declined("its shapes are not static, or have no elements")
        if element_type(node.outputs[0]) != kind:
            return Declined(f"its result is {element_type(node.outputs[0])} and its scales are {kind}")
        axis = attribute(node, "axis", 1) % len(shape)
        if shape[axis] != scales[axis] * block:
            return Declined(f"{shape[axis]} elements are no whole number of blocks of {block}")
        parts = build.integers(*shape[:axis], scales[axis], block, *shape[axis + 1 :])
        each = build.integers(*scales[: axis + 1], 1, *scales[axis + 1 :])
        value = build("Reshape", build("Cast", x, to=kind), parts)
        if zero is not None:
            value = build("Sub", value, build("Reshape", build("Cast", zero, to=kind), each))
        scaled = build("Mul", value, build("Reshape", scale, each))
        return build("Reshape", scaled, build.integers(*shape))
