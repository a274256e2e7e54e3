from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, DataType, input_at
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node


@dataclass(frozen=True)
class LowerDynamicQuantizeLinear(Lowering):
    """DynamicQuantizeLinear becomes the extremes of its input and arithmetic.

    `DynamicQuantizeLinear(x) -> y, s, z` with `s = (Max(ReduceMax(x), 0) - Min(ReduceMin(x), 0)) / 255`, or 1 where
    that is 0, `z = Round(-Min(ReduceMin(x), 0) / s)` and `y = Clip(Round(x / s) + z, 0, 255)`

    Left alone: a node that the target takes.
    """

    name = "lower-dynamic-quantize-linear"
    op_types = ("DynamicQuantizeLinear",)
    produces = frozenset(
        {"Add", "Cast", "Clip", "Div", "Equal", "Max", "Min", "Neg", "ReduceMax", "ReduceMin", "Round", "Sub", "Where"}
    )

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace all three outputs."""
        x, build = input_at(node, 0), Builder(edit, node)
        if x is None or build.type is None:
            return Declined("the type of its input is not known")
        low = build("Min", build("ReduceMin", x, keepdims=0), 0.0)
        width = build("Div", build("Sub", build("Max", build("ReduceMax", x, keepdims=0), 0.0), low), 255.0)
        scale = build("Where", build("Equal", width, 0.0), 1.0, width)
        zero_point = build("Clip", build("Round", build("Neg", build("Div", low, scale))), 0.0, 255.0)
        level = build("Add", build("Round", build("Div", x, scale)), zero_point)
        result = build("Cast", build("Clip", level, 0.0, 255.0), to=DataType.UINT8)
        edit.replace_node(node, result, scale, build("Cast", zero_point, to=DataType.UINT8))
        return Changed(f"became {', '.join(build.emitted)}")
