from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.windows import Windows, windows
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerAveragePool(FormulaLowering):
    """AveragePool becomes a convolution of each channel with equal weights.

    `AveragePool<kernel_shape = [k, k]>(x) -> Conv<group = channels>(x, 1 / (k * k))`; where windows at the edge count
    fewer elements, weights of 1 and a Mul with what each window counts.

    Left alone: shapes that are not static.
    """

    name = "lower-average-pool"
    op_types = ("AveragePool",)
    produces = frozenset({"Conv", "Mul"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the convolution, with the Mul where windows count different numbers."""
        found = windows(node)
        if isinstance(found, Declined):
            return found
        channels = (static_shape(x) or (0, 0))[1]
        counts = _counts(found, padding=bool(attribute(node, "count_include_pad", 0)))
        equal = bool((counts == counts.flat[0]).all())
        weight = np.full((channels, 1, *found.kernel), 1 / counts.flat[0] if equal else 1.0)
        reached = replace(found, ends=found.needed_ends())
        sums = build("Conv", x, build.array(weight), group=channels, **reached.attributes())
        return sums if equal else build("Mul", sums, build.array(1 / counts[None, None]))


def _counts(found: Windows, *, padding: bool) -> np.ndarray:
    """Return how many elements each window counts: those inside, and those of the padding where it counts too."""
    along: list[np.ndarray] = []
    for axis, size in enumerate(found.sizes):
        starts = np.arange(found.results[axis]) * found.strides[axis] - found.begins[axis]
        taps = starts[:, None] + np.arange(found.kernel[axis]) * found.dilations[axis]
        low, high = (-found.begins[axis], size + found.ends[axis]) if padding else (0, size)
        along.append(((taps >= low) & (taps < high)).sum(1))
    return math.prod(np.ix_(*along), start=np.ones((), dtype=np.int64))
