from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerSqueeze(FormulaLowering):
    """Squeeze and Unsqueeze become Reshape.

    `Unsqueeze(x, [1]) -> Reshape(x, [2, 1, 3])`

    Left alone: a result whose shape is not static or has no elements.
    """

    name = "lower-squeeze"
    op_types = ("Squeeze", "Unsqueeze")
    produces = frozenset({"Reshape"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the Reshape."""
        shape = static_shape(node.outputs[0])
        if shape is None or 0 in shape:
            return Declined("the shape of its result is not static, or has no elements")
        return build("Reshape", x, build.integers(*shape))
