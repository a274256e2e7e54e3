from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute_list, constant, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerDilation(FormulaLowering):
    """A convolution with dilations becomes one with zeros between its weights.

    `Conv<dilations = [d]>(x, w) -> Conv(x, w')` with `w'[i * d] = w[i]`, else 0; ConvTranspose likewise

    Left alone: no dilations; weights given at run time.
    """

    name = "lower-dilation"
    op_types = ("Conv", "ConvTranspose")
    produces = frozenset({"Conv", "ConvTranspose"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the convolution with the wider kernel."""
        dilations = attribute_list(node, "dilations", [1])
        if max(dilations) == 1:
            return None
        weight = constant(input_at(node, 1))
        if weight is None:
            return Declined("its weights are not constant")
        reach = [(taps - 1) * step + 1 for taps, step in zip(weight.shape[2:], dilations, strict=True)]
        wide = np.zeros((*weight.shape[:2], *reach), weight.dtype)
        wide[:, :, *(slice(None, None, step) for step in dilations)] = weight
        kept = {name: attr for name, attr in node.attributes.items() if name not in ("dilations", "kernel_shape")}
        return build(node.op_type, x, build.array(wide), input_at(node, 2), kernel_shape=reach, **kept)
