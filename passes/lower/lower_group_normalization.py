from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.wide_normalization import centered_and_variance, computed_wide
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


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

        def normalized(x: Value) -> Value:
            grouped = build("Reshape", x, build.integers(batch, groups, -1))
            centered, variance = centered_and_variance(grouped, build.integers(2), build)
            deviation = build("Sqrt", build("Add", variance, attribute(node, "epsilon", 1e-5)))
            return build("Reshape", build("Div", centered, deviation), build.integers(*shape))

        result = computed_wide(node, x, build, normalized)
        per_channel = build.integers(channels, *[1] * len(space))
        scaled = build("Mul", result, build("Reshape", input_at(node, 1), per_channel))
        return build("Add", scaled, build("Reshape", input_at(node, 2), per_channel))
