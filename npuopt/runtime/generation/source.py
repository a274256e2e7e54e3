"""What an encoder-decoder answers to: a text or a sound, read once, held as keys and values of every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError
from npuopt.runtime.generation.tokenizer import require_known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from npuopt.bundle.language_model import SourceRecord
    from npuopt.runtime.generation.decoder import Engine

COUNT = "count"
"""The array that says how many places of the source count."""


class SourceReader:
    """Leads sources through the encoder.

    Attributes:
        record: what the artifact says of it.
        held: the keys and values of the last source by their names, and how many of its places count.
    """

    def __init__(self, record: SourceRecord, hidden: float, engine: Engine) -> None:
        self.record = record
        self._hidden, self._engine = hidden, engine
        self.held: dict[str, np.ndarray] = {
            cache.name: np.zeros((1, cache.heads, record.length, cache.size), cache.dtype) for cache in record.caches
        }
        self.held[COUNT] = np.zeros(1, np.int64)

    @property
    def is_read(self) -> bool:
        """Say whether there is a source."""
        return bool(self.held[COUNT][0])

    def read(self, source: Sequence[int] | np.ndarray) -> None:
        """Make the keys and values of a source; what was there stays where it fails.

        Raises:
            InputError: when it is too long, of another shape, has ids outside the vocabulary, or cannot be padded.
        """
        record = self.record
        given, count = self._input(source)
        feeds = {record.input: given}
        if record.encoder_mask is not None:
            feeds[record.encoder_mask] = np.broadcast_to(self._mask(count), (1, 1, record.length, record.length)).copy()
        assert record.encoder is not None  # noqa: S101 -- opened artifacts have both
        assert record.cross is not None  # noqa: S101
        states = self._engine.run(record.encoder, feeds)[record.states]
        made = self._engine.run(record.cross, {record.states_input: states})
        self.restore({**{cache.name: made[cache.name] for cache in record.caches}, COUNT: np.array([count], np.int64)})

    def restore(self, held: Mapping[str, np.ndarray]) -> None:
        """Put back keys and values that were kept.

        Raises:
            InputError: when they are of another shape than the record says; nothing is changed then.
        """
        for name, before in self.held.items():
            if held[name].shape != before.shape:
                what = f"{name} of the source is {list(held[name].shape)}, not {list(before.shape)}"
                raise InputError(what, hint="the artifact is damaged; compile again")
        if not 0 <= held[COUNT][0] <= self.record.length:
            raise InputError(f"{int(held[COUNT][0])} places of a source of {self.record.length} are said to count")
        self.held = {name: np.ascontiguousarray(held[name]) for name in self.held}

    def feeds(self, sequence: int) -> dict[str, np.ndarray]:
        """Return what a profile of `sequence` new tokens takes of the source.

        Raises:
            InputError: when none was read.
        """
        if not self.is_read:
            raise InputError("there is no source to answer to", hint="give one: --source TEXT, or read_source(...)")
        feeds = {name: array for name, array in self.held.items() if name != COUNT}
        if self.record.cross_mask is not None:
            mask = self._mask(int(self.held[COUNT][0]))
            feeds[self.record.cross_mask] = np.broadcast_to(mask, (1, 1, sequence, self.record.length)).copy()
        return feeds

    def _input(self, source: Sequence[int] | np.ndarray) -> tuple[np.ndarray, int]:
        """Return the encoder's input, padded, and how many places of its states count."""
        record = self.record
        if record.vocabulary is None:
            given = np.asarray(source)
            if given.ndim == len(record.shape) - 1:
                given = given[None]
            if given.shape != record.shape or given.dtype.kind not in "fiu":
                what = f"the source is {given.dtype}{list(given.shape)}, and the encoder takes {list(record.shape)}"
                raise InputError(what)
            return given.astype(record.dtype), record.length
        if np.ndim(source) != 1:
            raise InputError(f"the source is a batch of shape {list(np.shape(source))}, and one text is read at once")
        ids = require_known([int(number) for number in source], record.vocabulary)
        room = record.shape[-1]
        if not 0 < len(ids) <= room:
            hint = "compile with a longer --source-length" if ids else "give at least one token"
            raise InputError(f"the source has {len(ids)} tokens, and the encoder has room for {room}", hint=hint)
        if len(ids) < room and (record.encoder_mask is None or record.cross_mask is None):
            raise InputError(f"the source has {len(ids)} tokens, and the encoder, which has no mask, takes {room}")
        padded = np.zeros(record.shape, record.dtype)
        padded[0, : len(ids)] = ids
        return padded, len(ids)

    def _mask(self, count: int) -> NDArray[np.float32]:
        return np.where(np.arange(self.record.length) < count, np.float32(0), np.float32(self._hidden))
