"""The caches of a decoder's layers between two runs, in each of the forms that an artifact may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError, UsageError
from npuopt.runtime.generation.places import NOTHING, Places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from npuopt.bundle.language_model import CacheForm, CacheTensor, LanguageModelRecord

    Arrays = Mapping[str, np.ndarray]


class Caches:
    """Keys and values of the tokens that were read.

    Args:
        record: what the artifact says of its model.
    """

    def __init__(self, record: LanguageModelRecord) -> None:
        self._record = record
        self.form: CacheForm = record.cache_form
        self.buffers: dict[str, np.ndarray] = {cache.input: empty(cache) for cache in record.caches}
        kinds = {(cache.length, cache.window) for cache in record.caches}
        kinds |= {(mask.length, mask.window) for mask in record.masks}
        self._places = {kind: Places(*kind) for kind in sorted(kinds, key=str)}
        self.length = 0

    def forget(self) -> None:
        """Empty them all."""
        self.buffers = {cache.input: empty(cache) for cache in self._record.caches}
        for places in self._places.values():
            places.clear()
        self.length = 0

    def positions(self, count: int, sequence: int) -> NDArray[np.int64]:
        """Return the positions of a run's tokens, [sequence]: `count` that follow what is held, and padding.

        Padding lies behind the tokens; in the form `whole` ahead of them, as what is at the end stays longest.
        """
        padding = np.full(sequence - count, NOTHING, np.int64)
        new = np.arange(self.length, self.length + count, dtype=np.int64)
        return np.concatenate([padding, new] if self.form == "whole" else [new, padding])

    def feeds(self, new: NDArray[np.int64]) -> dict[str, np.ndarray]:
        """Return caches, masks and the place to write to, for a run with tokens at the positions `new`."""
        record = self._record
        feeds = dict(self.buffers)
        for mask in record.masks:
            feeds[mask.name] = self._places[mask.length, mask.window].mask(self.form, new, record.hidden, mask.bias)
        if record.write_position is not None:
            feeds[record.write_position] = np.array([self.length], np.int64)
        return feeds

    def take(self, outputs: Arrays, new: NDArray[np.int64]) -> None:
        """Take what a run made of tokens at the positions `new`.

        Raises:
            InputError: when an output has another shape than the record says; nothing is changed then.
        """
        for cache in self._record.caches:
            heads, length, size = cache.heads, len(new) if self.form == "new" else cache.length, cache.size
            if outputs[cache.output].shape != (1, heads, length, size):
                what = f"is {list(outputs[cache.output].shape)}, not {[1, heads, length, size]}"
                raise InputError(f"output {cache.output} {what}", hint="the artifact is damaged; compile again")
        for cache in self._record.caches:
            self._keep(cache, outputs[cache.output], new)
        for places in self._places.values():
            places.held = places.after(self.form, new)
        self.length += int((new != NOTHING).sum())

    def rewind(self, length: int) -> None:
        """Hold the first `length` tokens only; what lies at the places of the others is overwritten in time.

        Raises:
            UsageError: when some of them are not held any more, or a moving cache (form `whole`) has moved on.
        """
        if not 0 <= length <= self.length:
            raise UsageError(f"{length} tokens are to stay of {self.length}")
        if length == self.length:
            return
        if self.form == "whole":
            raise UsageError("caches of the form whole cannot go back", hint="compile with --cache new or in-place")
        for places in self._places.values():
            first = 0 if places.window is None else max(0, length - places.window + 1)
            if not np.isin(np.arange(first, length), places.held).all():
                what = f"the caches of a window of {places.window} tokens cannot go back from {self.length} to {length}"
                raise UsageError(what, hint="forget, and read again")
        for places in self._places.values():
            places.held[places.held >= length] = NOTHING
        self.length = length

    def _keep(self, cache: CacheTensor, made: np.ndarray, new: NDArray[np.int64]) -> None:
        if self.form != "new":
            self.buffers[cache.input] = np.ascontiguousarray(made)
            return
        real = np.flatnonzero(new != NOTHING)[-cache.length :]
        places = self._places[cache.length, cache.window].place_of(new[real])
        self.buffers[cache.input][:, :, places] = made[:, :, real]

    @property
    def held(self) -> dict[tuple[int, int | None], NDArray[np.int64]]:
        """The position of the token at each place, by length and window of the caches."""
        return {kind: places.held for kind, places in self._places.items()}

    def restore(self, buffers: Arrays, held: Mapping[tuple[int, int | None], NDArray[np.int64]], length: int) -> None:
        """Put back what was kept; shapes are the caller's to check."""
        self.buffers = {name: np.array(buffer) for name, buffer in buffers.items()}
        for kind, positions in held.items():
            self._places[kind].held = np.array(positions, np.int64)
        self.length = length


def shape_of(cache: CacheTensor) -> tuple[int, int, int, int]:
    """Return the shape of a cache's buffer."""
    return 1, cache.heads, cache.length, cache.size


def empty(cache: CacheTensor) -> np.ndarray:
    """Return a cache's buffer full of nothing: of zeros, or of what stands for them."""
    buffer = np.zeros(shape_of(cache), cache.dtype)
    held = cache.held_as
    if held is not None and buffer.dtype.kind in "iu":
        shape = [1, 1, 1, 1]
        shape[held.axis or 0] = -1
        buffer[:] = np.array(held.zero_point, buffer.dtype).reshape(shape)
    return buffer


def bytes_per_token(record: LanguageModelRecord) -> int:
    """Return what one more token takes in the caches of layers without a window, as the graph holds them."""
    return sum(_item_bytes(cache) * cache.heads * cache.size for cache in record.caches if cache.window is None)


def cache_bytes(record: LanguageModelRecord) -> int:
    """Return what all caches take, as the graph holds them."""
    return sum(_item_bytes(cache) * cache.heads * cache.size * cache.length for cache in record.caches)


def _item_bytes(cache: CacheTensor) -> int:
    return np.dtype(cache.dtype if cache.held_as is None else cache.held_as.dtype).itemsize
