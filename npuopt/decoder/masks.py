"""Reads off computed masks how far back queries see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError

if TYPE_CHECKING:
    from npuopt.decoder.trials import Trials

HIDDEN = -1e3
"""Added to a score, this and less hides a key."""


def window_of(name: str, trials: Trials, context: int) -> int | None:
    """Return how many tokens back a mask lets queries look, themselves included; None for all.

    Raises:
        InputError: when it is no such mask: it shows later tokens, differs between heads, or adds to what is shown.
    """
    longest = context - 1 if trials.past else 0
    last = _shown(name, trials.run(context - longest, longest)[name])[-1]
    first = int(last.argmax())
    window = context - first if first else None
    sizes = ((3, trials.past), (5, 3 * trials.past), (context - longest, longest))
    for new, past in sizes if context > 3 * trials.past + 5 else sizes[2:]:
        shown = _shown(name, trials.run(new, past)[name])
        if shown.shape[-1] == past + new and np.array_equal(
            shown, np.broadcast_to(seen(new, past, window), shown.shape)
        ):
            continue
        raise InputError(
            f"mask {name!r} does not show each token those before it, all or a window of them",
            hint="only causal masks are known, with or without a window",
        )
    return window


def seen(new: int, past: int, window: int | None) -> np.ndarray:
    """Return which of `past + new` tokens each of the new ones sees."""
    queries, keys = np.arange(past, past + new)[:, None], np.arange(past + new)[None, :]
    near = keys > queries - window if window is not None else True
    return (keys <= queries) & near


def _shown(name: str, mask: np.ndarray) -> np.ndarray:
    """Return the truth of a mask for each query and key.

    Raises:
        InputError: when heads differ, or scores that are shown are changed.
    """
    if any(size != 1 for size in mask.shape[:-2]):
        raise InputError(f"mask {name!r} differs between heads or samples: {list(mask.shape)}")
    plain = mask.reshape(mask.shape[-2:])
    if plain.dtype == np.bool_:
        return plain
    shown = plain > HIDDEN
    if np.any(plain[shown] != 0):
        raise InputError(
            f"mask {name!r} adds to the scores that it shows", hint="biases by distance are not known beside a cache"
        )
    return shown
