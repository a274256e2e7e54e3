"""Reads off computed masks how far back queries see, and what is added by distance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from npuopt.decoder.trials import Trials

HIDDEN = -1e3
"""Added to a score, this and less hides a key."""

CLOSE = 1e-5
"""How far biases of one distance may be apart: they are computed in floats."""


@dataclass(frozen=True)
class MaskKind:
    """What masks do.

    Attributes:
        window: how many tokens back a query looks, itself included; None for all.
        bias: what is added to each score that is shown, [heads, distance], query and key at distance 0 first; beyond
            the last distance it stays the same. None where nothing is.
    """

    window: int | None = None
    bias: np.ndarray | None = field(default=None, compare=False)


def mask_kind(name: str, trials: Trials, context: int) -> MaskKind:
    """Return what a mask does.

    Raises:
        InputError: when it shows later tokens, or differs between heads or adds to what is shown other than by
            distance.
    """
    longest = context - 1 if trials.past else 0
    shown, scores = _read(name, trials.run(context - longest, longest)[name])
    first = int(shown[-1].argmax())
    window = context - first if first else None
    by_distance = scores[:, -1, ::-1][:, : window or context]  # of the last query, the nearest key first
    sizes = ((3, trials.past), (5, 3 * trials.past), (context - longest, longest))
    for new, past in sizes if context > 3 * trials.past + 5 else sizes[2:]:
        shown, scores = _read(name, trials.run(new, past)[name])
        expected = seen(new, past, window)
        if shown.shape != expected.shape or not np.array_equal(shown, expected):
            raise InputError(
                f"mask {name!r} does not show each token those before it, all or a window of them",
                hint="only causal masks are known, with or without a window",
            )
        if not np.allclose(scores, biased(by_distance, expected, past), rtol=0, atol=CLOSE):
            raise InputError(
                f"mask {name!r} adds to the scores that it shows",
                hint="only biases by the distance of query and key, for each head, are known",
            )
    return MaskKind(window, _shortest(by_distance) if by_distance.any() else None)


def biased(by_distance: np.ndarray, shown: np.ndarray, past: int) -> np.ndarray:
    """Return what is added to each score, [heads, queries, keys]; 0 where nothing is shown."""
    distance: NDArray[np.int64] = np.arange(past, past + len(shown))[:, None] - np.arange(len(shown[0]))[None, :]
    return np.where(shown, by_distance[:, np.clip(distance, 0, by_distance.shape[1] - 1)], 0)


def _shortest(by_distance: np.ndarray) -> np.ndarray:
    """Leave out the distances at the end that are like the one before them."""
    changes = np.flatnonzero((by_distance[:, 1:] != by_distance[:, :-1]).any(axis=0))
    return np.ascontiguousarray(by_distance[:, : (int(changes[-1]) + 2) if len(changes) else 1])


def seen(new: int, past: int, window: int | None) -> np.ndarray:
    """Return which of `past + new` tokens each of the new ones sees."""
    queries, keys = np.arange(past, past + new)[:, None], np.arange(past + new)[None, :]
    near = keys > queries - window if window is not None else True
    return (keys <= queries) & near


def _read(name: str, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which keys a mask shows, [queries, keys], and what it adds to their scores, [heads, queries, keys].

    Raises:
        InputError: when what is shown differs between heads or samples.
    """
    if mask.ndim > 3 and mask.shape[0] != 1:
        raise InputError(f"mask {name!r} differs between samples: {list(mask.shape)}")
    plain = mask.reshape(-1, *mask.shape[-2:])
    shown = plain if plain.dtype == np.bool_ else plain > HIDDEN
    if (shown != shown[:1]).any():
        raise InputError(f"mask {name!r} shows other keys to other heads: {list(mask.shape)}")
    added = np.zeros(plain.shape, np.float32) if plain.dtype == np.bool_ else np.where(shown, plain, 0)
    return shown[0], added.astype(np.float32)
