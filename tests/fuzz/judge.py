"""Says whether two runs compute the same, given how much a graph makes of the last bits of its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from support.numbers import run

if TYPE_CHECKING:
    from npuopt.graph import Model
    from support.numbers import Arrays

ALLOWED = {"float64": 1e-6, "float32": 1e-4, "float16": 2e-2, "bfloat16": 6e-2}
"""Relative to the output's largest value; any other type must be equal."""

NUDGE = 1e-6
MOST_OF_A_NUDGE = 100
"""What last bits may become: this many times what a relative change of the inputs by NUDGE changes."""


def sensitivity(model: Model, feeds: Arrays, outputs: Arrays) -> dict[str, float] | None:
    """Return how far each output moves when the float inputs move by NUDGE; None where integers or shapes move."""
    generator = np.random.default_rng(0)
    moved: dict[str, np.ndarray] = {}
    for name, array in feeds.items():
        factor = 1 + NUDGE * generator.choice([-1.0, 1.0], array.shape)
        moved[name] = np.asarray(array * factor, array.dtype) if array.dtype.kind == "f" else array
    found: dict[str, float] = {}
    for name, array in run(model, moved).items():
        if array.shape != outputs[name].shape:
            return None
        if array.dtype.kind not in "fV":
            if not np.array_equal(array, outputs[name]):
                return None
        else:
            found[name] = _distance(outputs[name], array)
    return found


def difference(expected: Arrays, got: Arrays, moves: dict[str, float]) -> str | None:
    """Return what is wrong with `got`, or None."""
    if list(expected) != list(got):
        return f"the outputs were {list(expected)} and are {list(got)}"
    for name, left in expected.items():
        right = got[name]
        if (left.dtype, left.shape) != (right.dtype, right.shape):
            return f"{name} was {left.dtype}{left.shape} and is {right.dtype}{right.shape}"
        allowed = ALLOWED.get(str(left.dtype))
        if allowed is None:
            if not np.array_equal(left, right):
                return f"{name} is not equal"
            continue
        values = np.abs(left.astype(np.float64))
        scale = float(values[np.isfinite(values)].max(initial=0.0))
        distance = _distance(left, right)
        if not distance <= max(allowed * scale, MOST_OF_A_NUDGE * moves[name], 1e-30):
            return (
                f"{name} differs by {distance:.3g} where values reach {scale:.3g} and a nudge moves {moves[name]:.3g}"
            )
    return None


def _distance(left: np.ndarray, right: np.ndarray) -> float:
    """Return the largest difference; infinite where one is finite and the other is not.

    The largest number of a type and infinity are the same: an open bound of Clip is the former in ONNX, and
    `lower-clip` lets the latter pass.
    """
    if not left.size:
        return 0.0
    largest = float(np.finfo(left.dtype).max) if left.dtype.kind == "f" else np.inf
    left, right = left.astype(np.float64), right.astype(np.float64)
    with np.errstate(invalid="ignore"):
        at_end = (np.abs(left) == largest) & (right == np.copysign(np.inf, left))
        same = (left == right) | (np.isnan(left) & np.isnan(right)) | at_end
        distance = np.where(same, 0.0, np.abs(left - right))
    return float(np.nan_to_num(distance, nan=np.inf).max())
