from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, dims
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerLocalResponseNormalization(FormulaLowering):
    """LRN becomes a convolution of squares across channels and a power.

    `LRN<size, alpha, beta, bias>(x) -> x * Pow(Conv(x * x, w, bias), -beta)`, where w is `alpha / size` for the
    `size` channels around each channel, else 0; or `x / Pow(Conv(...), beta)`, whose power roots can take apart.

    Left alone: a number of channels that is not known or above `most`.

    Attributes:
        most: the weights are the square of the channels.
        quotient: divide by the power instead of multiplying with its reciprocal.
    """

    name = "lower-local-response-normalization"
    op_types = ("LRN",)
    produces = frozenset({"Conv", "Div", "Mul", "Pow"})

    most: int = 1024
    quotient: bool = False

    def forms(self) -> tuple[LowerLocalResponseNormalization, ...]:
        """Return the product and the quotient."""
        return (self, replace(self, quotient=not self.quotient))

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the product."""
        shape = dims(x)
        channels = shape[1] if shape is not None and len(shape) > 2 else None
        if shape is None or not isinstance(channels, int) or not 0 < channels <= self.most:
            return Declined(f"its number of channels is {channels}, not a number up to {self.most}")
        size = attribute(node, "size", 1)
        apart = np.arange(channels)[None] - np.arange(channels)[:, None]
        near = (apart >= -((size - 1) // 2)) & (apart <= size // 2)
        weight = near * (attribute(node, "alpha", 1e-4) / size)
        biases = build.array(np.full(channels, attribute(node, "bias", 1.0)))
        taps = [1] * (len(shape) - 2)
        sums = build("Conv", build("Mul", x, x), build.array(weight.reshape(channels, channels, *taps)), biases)
        beta = attribute(node, "beta", 0.75)
        if self.quotient:
            return build("Div", x, build("Pow", sums, beta))
        return build("Mul", x, build("Pow", sums, -beta))
