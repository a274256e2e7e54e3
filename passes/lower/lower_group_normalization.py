from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import DataType, attribute, input_at, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

NARROW = (DataType.FLOAT16, DataType.BFLOAT16)


@dataclass(frozen=True)
class LowerGroupNormalization(FormulaLowering):
    """GroupNormalization and InstanceNormalization become means over their groups, a root and arithmetic.

    `GroupNormalization<num_groups = G>(x, scale, bias) -> Reshape(normalized(Reshape(x, [N, G, -1]))) * scale + bias`;
    an instance is a group of one channel. Half precision is computed in float between two Casts.

    Left alone: an input whose shape is not static or has no elements.
    """

    name = "lower-group-normalization"
    op_types = ("GroupNormalization", "InstanceNormalization")
    produces = frozenset({"Add", "Cast", "Div", "Mul", "ReduceMean", "Reshape", "Sqrt", "Sub"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the normalization's definition."""
        shape = static_shape(x)
        if shape is None or 0 in shape:
            return Declined("the shape of its input is not static or has no elements")
        batch, channels, *space = shape
        groups = attribute(node, "num_groups", channels)
        given = build.type
        wide = given in NARROW and attribute(node, "stash_type", int(DataType.FLOAT)) == DataType.FLOAT
        if wide:
            x = build("Cast", x, to=DataType.FLOAT)
            build.type = DataType.FLOAT
        grouped = build("Reshape", x, build.integers(batch, groups, -1))
        axis = build.integers(2)
        centered = build("Sub", grouped, build("ReduceMean", grouped, axis, keepdims=1))
        variance = build("ReduceMean", build("Mul", centered, centered), axis, keepdims=1)
        deviation = build("Sqrt", build("Add", variance, attribute(node, "epsilon", 1e-5)))
        result = build("Reshape", build("Div", centered, deviation), build.integers(*shape))
        if wide:
            result = build("Cast", result, to=given)
        per_channel = build.integers(channels, *[1] * len(space))
        scaled = build("Mul", result, build("Reshape", input_at(node, 1), per_channel))
        return build("Add", scaled, build("Reshape", input_at(node, 2), per_channel))
