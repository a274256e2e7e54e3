from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, rank
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.wide_normalization import NARROW, centered_and_variance
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerLayerNormalizationToPower(FormulaLowering):
    """LayerNormalization becomes means, a power of minus a half and products, without a division.

    `LayerNormalization<axis, epsilon>(x, scale, bias) -> c * Pow(ReduceMean(c * c) + epsilon, -0.5) * scale + bias`
    with `c = x - ReduceMean(x)`: for chips that have the reciprocal of a root in one step, and neither of the two.

    Left alone: an input of unknown rank or half precision; a node whose mean or deviation is read.
    """

    name = "lower-layer-normalization-to-power"
    op_types = ("LayerNormalization",)
    produces = frozenset({"Add", "Mul", "Pow", "ReduceMean", "Sub"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the normalization's definition."""
        depth = rank(x)
        if depth is None:
            return Declined("the rank of its input is not known")
        if build.type in NARROW:
            return Declined("it computes in half precision")
        axes = build.integers(*range(attribute(node, "axis", -1) % depth, depth))
        centered, variance = centered_and_variance(x, axes, build)
        factor = build("Pow", build("Add", variance, attribute(node, "epsilon", 1e-5)), -0.5)
        result = build("Mul", build("Mul", centered, factor), input_at(node, 1))
        bias = input_at(node, 2)
        return result if bias is None else build("Add", result, bias)
