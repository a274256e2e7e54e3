from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, rank
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.wide_normalization import NARROW
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerRmsNormalizationToPower(FormulaLowering):
    """RMSNormalization becomes a mean of squares, a power of minus a half and products, without a division.

    `RMSNormalization<axis, epsilon>(x, scale) -> x * Pow(ReduceMean(x * x) + epsilon, -0.5) * scale`: for chips that
    have the reciprocal of a root in one step, and neither of the two.

    Left alone: an input of unknown rank or half precision.
    """

    name = "lower-rms-normalization-to-power"
    op_types = ("RMSNormalization",)
    produces = frozenset({"Add", "Mul", "Pow", "ReduceMean"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the normalization's definition."""
        depth = rank(x)
        if depth is None:
            return Declined("the rank of its input is not known")
        if build.type in NARROW:
            return Declined("it computes in half precision")
        axes = build.integers(*range(attribute(node, "axis", -1) % depth, depth))
        square = build("ReduceMean", build("Mul", x, x), axes, keepdims=1)
        factor = build("Pow", build("Add", square, attribute(node, "epsilon", 1e-5)), -0.5)
        return build("Mul", build("Mul", x, factor), input_at(node, 1))
