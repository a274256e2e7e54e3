from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, rank
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerBatchNormalization(FormulaLowering):
    """BatchNormalization becomes one Mul and one Add with constants.

    `BatchNormalization<epsilon>(x, scale, bias, mean, variance) -> x * s + t` with
    `s = scale / sqrt(variance + epsilon)` and `t = bias - mean * s`, along axis 1

    Left alone: training mode; parameters that are not constant; an input of unknown rank.
    """

    name = "lower-batch-normalization"
    op_types = ("BatchNormalization",)
    produces = frozenset({"Add", "Mul"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return `x * s + t`."""
        depth = rank(x)
        if depth is None:
            return Declined("the rank of its input is not known")
        if attribute(node, "training_mode", 0):
            return Declined("it is in training mode")
        parameters = [constant(value) for value in node.inputs[1:5]]
        known = [parameter.astype(np.float64) for parameter in parameters if parameter is not None]
        if len(known) != 4:
            return Declined("its parameters are not all constant")
        scale, bias, mean, variance = known
        slope = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        shape = [-1] + [1] * max(depth - 2, 0)
        scaled = build("Mul", x, build.array(slope.reshape(shape)))
        return build("Add", scaled, build.array((bias - mean * slope).reshape(shape)))
