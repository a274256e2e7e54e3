"""Factors for channels that products of run-time tensors read, chosen by what integers lose there.

Rounding one operand adds noise to the result that grows with the other: a product of `a` and `b` over channels c gets
`sum of E[a_c^2] step_b^2 + E[b_c^2] step_a^2`, over 12. Factors between the two sides change both, as the exponent of
SmoothQuant does between activations and weights (Xiao et al., ICML 2023, equation 4); here it is chosen by that sum.
An operand of fewer bits gets channels of equal range by it, which is the best for it, and the other one what remains.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING

import numpy as np

from npuopt.quantization.arithmetic import limits
from npuopt.quantization.channels.smoothing import LEAST_GAIN_DB, centred, lifted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from npuopt.graph import Node
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.channels.linking import Link, Side
    from npuopt.quantization.channels.operand_statistics import Spread

SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
"""How much of the difference between channels is left to the other side, as exponents."""


@dataclass(frozen=True)
class Format:
    """How an activation is held: its integer type, and whether zero is in its middle."""

    dtype: IntegerType
    symmetric: bool


def step(held: Format, low: np.ndarray, high: np.ndarray) -> float:
    """Return the distance between two integers of a tensor whose channels have these ends."""
    smallest, largest = limits(held.dtype)
    width = 2 * max(-low.min(), high.max()) if held.symmetric else high.max() - low.min()
    return float(width) / (largest - smallest)


def balanced(
    link: Link, seen: Mapping[tuple[Node, int], Spread], formats: Mapping[tuple[Node, int], Format]
) -> dict[str, np.ndarray]:
    """Return the factors of the link's joints by name; none where they would gain too little.

    Args:
        link: joints whose factors depend on one another.
        seen: of the channels of each operand.
        formats: how each operand is held.
    """
    divided, multiplied = np.zeros(link.count), np.zeros(link.count)
    for joint, product in (side for sides in link.sides for side in sides):
        spread = seen[product.node, product.index]
        size = np.maximum(-spread.low, spread.high)
        bundle, sign = link.bundles[joint.name], link.signs[joint.name]
        for sizes, wanted in ((divided, 1), (multiplied, -1)):
            own = (bundle >= 0) & (sign == wanted)
            np.maximum.at(sizes, bundle[own], size[own])

    def noise(factors: np.ndarray) -> float:
        own = link.factors(factors)
        return sum(_noise(sides, own, seen, formats) for sides in link.sides)

    ahead, behind = lifted(divided), lifted(multiplied)
    chosen = best(noise, link.count, lambda share: ahead ** (1 - share) / behind**share)
    return {} if chosen is None else link.factors(chosen)


def _noise(
    sides: tuple[Side, Side],
    factors: Mapping[str, np.ndarray],
    seen: Mapping[tuple[Node, int], Spread],
    formats: Mapping[tuple[Node, int], Format],
) -> float:
    """Return the noise of one product's result, for each of its rows and columns."""
    steps: list[float] = []
    powers: list[float] = []
    for joint, product in sides:
        spread, own = seen[product.node, product.index], factors[joint.name]
        steps.append(step(formats[product.node, product.index], spread.low / own, spread.high / own))
        by_element = (spread.power / own**2)[product.channels]
        powers.append(float(by_element.mean()))
    return steps[1] ** 2 * powers[0] + steps[0] ** 2 * powers[1]


def best(noise: Callable[[np.ndarray], float], count: int, factors: Callable[[float], np.ndarray]) -> np.ndarray | None:
    """Return the factors of least noise among those that `SHARES` give; None where they gain too little."""
    before = noise(np.ones(count))
    tried = [centred(factors(share)) for share in SHARES] if count else []
    found = min(tried, key=noise, default=None)
    if found is None or before <= 0 or 10 * log10(before / max(noise(found), before * 1e-12)) < LEAST_GAIN_DB:
        return None
    return found
