"""Learns for each weight whether it is rounded up or down, by gradients in torch: AdaRound.

What is learned are numbers V, one for each weight, of which h(V) in [0, 1] says how much of a step it is rounded up.
The loss is what the layer's result is off by, plus a price on every h that is neither 0 nor 1, which rises with time.
With E the errors of a row and H the mean products of the features, the first is E H E': all that a layer's inputs
say about it, so that they need not be kept. Source: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training
Quantization", ICML 2020, section 4, equations 20 to 24; constants are theirs where nothing else is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from npuopt.errors import ToolchainMissingError
from npuopt.quantization.rounding.cancellation import Cancellation, feedback

if TYPE_CHECKING:
    from npuopt.quantization.rounding.cancellation import Rounder

UPPER, LOWER = 1.1, -0.1
"""The sigmoid is stretched to this range and cut off at 0 and 1, so that both are reached."""

SHARPNESS = (20.0, 2.0)
"""The power of the price, at first and in the end: at first only what is nearly decided pays."""

UNPRICED = 0.2
"""Share of the iterations, the first ones, that look for the least error alone."""

PRICE = 100.0
"""Of a weight that is wholly undecided, where 1 is what rounding it to the nearest costs on average. Measured on
products of Gemma 3 270M, 4 bits: with less, weights end where they began; theirs, 0.01, is for another loss."""

LEARNING_RATE = 0.1
"""Theirs is 0.01, for ten times as many iterations."""

ITERATIONS = 1000
"""Theirs are 10,000, on a few samples each; each of these sees all of them."""

LEARNED_AT_ONCE = 2**22
"""Weights that are learned at a time, each with five numbers in float32; rows do not depend on each other."""


def learned_rounder(iterations: int = ITERATIONS) -> Rounder:
    """Return what makes of mean products of features, and how many positions they are of, a way to round by them.

    Raises:
        ToolchainMissingError: when torch is not installed.
    """
    torch = _torch()

    def learned(second: np.ndarray, positions: int | None = None) -> Cancellation | None:
        found = feedback(second, positions)
        if found is None:
            return None
        return LearnedRounding(found.second, found.order, found.moves, found.trusted, torch, iterations)

    return learned


@dataclass(frozen=True)
class LearnedRounding(Cancellation):
    """Rounds rows up or down as is learned; where that errs more than moving the rest of the row does, as that does.

    Attributes:
        torch: the module.
        iterations: of gradient descent.
    """

    torch: Any
    iterations: int

    def steps(
        self, rows: np.ndarray, scales: np.ndarray, ends: tuple[int, int], middle: np.ndarray | int = 0
    ) -> np.ndarray:
        """Return integers for rows of weights, as `Cancellation.steps` does."""
        best = super().steps(rows, scales, ends, middle)
        products = self.torch.from_numpy(np.ascontiguousarray(self.trusted, np.float32))
        part = max(1, LEARNED_AT_ONCE // max(rows.shape[1], 1))
        for start in range(0, len(rows), part):
            some = slice(start, start + part)
            own, grids, zeros = (np.broadcast_to(each, rows.shape)[some] for each in (rows, scales, middle))
            grid = _Grid(own, grids, zeros, ends)
            learned = _learn(self.torch, grid, products, self.iterations)
            wins = self._costs(grid, learned) < self._costs(grid, best[some])
            best[some] = np.where(wins[:, None], learned, best[some])
        return best

    def _costs(self, grid: _Grid, integers: np.ndarray) -> np.ndarray:
        """Return what the errors of each row cost."""
        error = (integers - grid.middle) * grid.scales - grid.rows
        return np.einsum("rf,rf->r", error @ self.trusted, error)


class _Grid(NamedTuple):
    """Rows of weights with the grid of each weight.

    Attributes:
        rows: the weights, [channels, features].
        scales: of each weight.
        middle: the integer of each that stands for zero.
        ends: the least and the largest integer.
    """

    rows: np.ndarray
    scales: np.ndarray
    middle: np.ndarray
    ends: tuple[int, int]


def _learn(torch: Any, grid: _Grid, products: Any, iterations: int) -> np.ndarray:  # noqa: ANN401 -- torch's objects
    """Return integers that are learned: each weight's own rounded down, or one more."""
    exact = grid.rows / grid.scales + grid.middle
    below = np.clip(np.floor(exact), grid.ends[0], grid.ends[1] - 1)
    share = np.clip(exact - below, 0.01, 0.99)  # of the step above; where the grid ends, nearly decided
    nearest = (np.rint(share) + below - grid.middle) * grid.scales - grid.rows
    tensors = (below - exact, grid.scales, np.log((share - LOWER) / (UPPER - share)))
    distance, scales, decisions = (torch.from_numpy(np.ascontiguousarray(each, np.float32)) for each in tensors)
    level = _level(torch, nearest, products)
    decisions.requires_grad_(True)
    optimizer = torch.optim.Adam([decisions], lr=LEARNING_RATE)
    for iteration in range(iterations):
        up = torch.clamp(torch.sigmoid(decisions) * (UPPER - LOWER) + LOWER, 0, 1)
        errors = (distance + up) * scales
        loss = (errors @ products * errors / level).sum()
        done = iteration / iterations
        if done >= UNPRICED:
            left = 1 - (done - UNPRICED) / (1 - UNPRICED)
            power = SHARPNESS[1] + (SHARPNESS[0] - SHARPNESS[1]) * left
            loss = loss + PRICE * (1 - (2 * up - 1).abs().pow(power)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return below + (torch.sigmoid(decisions.detach()) > 1 / 2).numpy()


def _level(torch: Any, errors: np.ndarray, products: Any) -> Any:  # noqa: ANN401 -- torch's objects
    """Return what rounding a weight to the nearest costs on average, for each row."""
    noise = torch.from_numpy(np.ascontiguousarray(errors, np.float32))
    cost = (noise @ products * noise).mean(dim=1, keepdim=True)
    return torch.clamp(cost, min=torch.finfo(torch.float32).tiny)


def _torch() -> Any:  # noqa: ANN401 -- its own annotations are partial
    try:
        return import_module("torch")
    except ImportError as error:
        raise ToolchainMissingError("learned rounding needs torch", hint="pip install 'npuopt[tune]'") from error
