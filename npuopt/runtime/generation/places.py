"""Which token lies at which place of a cache, and what a query may therefore see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.bundle.language_model import bias_by_distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from npuopt.bundle.language_model import CacheForm

    Integers = NDArray[np.int64]

NOTHING = -1
"""The position of a place that holds no token, and of padding."""


@dataclass
class Places:
    """The positions of the tokens in the caches of one length and window.

    Args:
        length: places of the cache.
        window: how many tokens back the layer looks, itself included; None for all.
    """

    length: int
    window: int | None

    def __post_init__(self) -> None:
        self.held: Integers = np.full(self.length, NOTHING, np.int64)

    def clear(self) -> None:
        """Hold nothing."""
        self.held[:] = NOTHING

    def place_of(self, positions: Integers) -> Integers:
        """Return where tokens at these positions are written, in the forms `new` and `in-place`."""
        return positions if self.window is None else positions % self.length

    def after(self, form: CacheForm, new: Integers) -> Integers:
        """Return the positions that the cache holds after a run with tokens at positions `new`, padding included."""
        if form == "whole":
            return np.concatenate([self.held, new])[len(new) :][-self.length :]
        real = new[new != NOTHING][-self.length :]
        held = self.held.copy()
        held[self.place_of(real)] = real
        if form == "in-place" and (padding := int((new == NOTHING).sum())):  # the graph writes it behind the tokens
            last = int(new.max())
            held[self.place_of(np.arange(last + 1, last + 1 + padding, dtype=np.int64))] = NOTHING
        return held

    def seen(self, form: CacheForm, new: Integers) -> Integers:
        """Return the positions of the keys that a run with tokens at positions `new` is shown, in the mask's order."""
        if form == "new":
            return np.concatenate([self.held, new])
        return self.after(form, new)

    def mask(
        self, form: CacheForm, new: Integers, hidden: float, bias: Sequence[Sequence[float]] = ()
    ) -> NDArray[np.float32]:
        """Return the mask of a run, [1, 1 or heads, len(new), places]: `hidden` where no key is seen, else the bias."""
        keys, queries = self.seen(form, new)[None, :], new[:, None]
        visible = (keys != NOTHING) & (keys <= queries)
        if self.window is not None:
            visible &= keys > queries - self.window
        return np.where(visible, bias_by_distance(bias, queries - keys), np.float32(hidden))[None]
