"""Drives the static profiles of a decoder through a text, as a runtime does: for calibration and for comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from npuopt.bundle import bias_by_distance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from npuopt.bundle import CacheTensor, LanguageModelRecord, MaskInput, Profile

    Arrays = dict[str, np.ndarray]
    Run = Callable[[Profile, Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]

EMPTY = -1
"""The position of a place that holds no token."""


@dataclass(frozen=True)
class TokenTable:
    """The embedding of a decoder that takes looked-up vectors.

    Attributes:
        tokens: what the input of token ids was called, in calibration files too.
        rows: float, [vocabulary, width]; may be mapped.
    """

    tokens: str
    rows: np.ndarray

    def look_up(self, ids: np.ndarray) -> np.ndarray:
        """Return the vectors of tokens, float32 [..., width]."""
        return self.rows[ids].astype(np.float32)


@dataclass
class Driver:
    """Feeds tokens to profiles and keeps the caches.

    Attributes:
        record: what the profiles take.
        run: runs a profile once.
        table: looked up for profiles that take vectors.
        beside: what profiles of so many new tokens take besides: of a source, say.
        position: how many tokens went in.
        caches: by input.
    """

    record: LanguageModelRecord
    run: Run
    table: TokenTable | None = None
    beside: Callable[[int], Mapping[str, np.ndarray]] = lambda _: {}
    position: int = 0
    caches: Arrays = field(default_factory=dict[str, np.ndarray])
    _moved: dict[int, np.ndarray] = field(default_factory=dict[int, np.ndarray])
    """Cache length -> the position of the token at each place, where caches move along."""

    def __post_init__(self) -> None:
        """Start with empty caches."""
        self.reset()

    def reset(self) -> None:
        """Forget all tokens."""
        self.position = 0
        for cache in self.record.caches:
            shape = (1, cache.heads, cache.length, cache.size)
            self.caches[cache.input] = np.zeros(shape, np.dtype(cache.dtype))
        self._moved = {cache.length: np.full(cache.length, EMPTY) for cache in self.record.caches}

    def feed(self, tokens: Sequence[int]) -> np.ndarray:
        """Run all tokens, in chunks as long as possible, and return their logits [tokens, vocabulary].

        Where profiles give the last token's logits only, it is one row for each run.
        """
        rows = [self._take(profile, feeds, count) for profile, feeds, count in self.runs(tokens)]
        return np.concatenate(rows)

    def samples(self, tokens: Sequence[int]) -> Iterator[Arrays]:
        """Yield what each run of a text is fed, with the caches that the runs before it made."""
        for profile, feeds, count in self.runs(tokens):
            yield feeds
            self._take(profile, feeds, count)

    def runs(self, tokens: Sequence[int]) -> Iterator[tuple[Profile, Arrays, int]]:
        """Yield what each run is fed, with how many tokens are in it; caches have to be updated before the next."""
        left = list(tokens)
        while left:
            profile = self._profile(len(left))
            taken, left = left[: profile.sequence], left[profile.sequence :]
            if self.record.cache_form == "whole" and self.position == 0 and len(tokens) > profile.sequence:
                first = len(tokens) % profile.sequence or profile.sequence  # padding belongs ahead of the text
                taken, left = list(tokens)[:first], list(tokens)[first:]
            yield profile, self.feeds(profile, taken), len(taken)

    def _profile(self, count: int) -> Profile:
        """Return the longest profile that the context has room for, unless a shorter one holds all that is left."""
        room = self.record.context_length - self.position
        fitting = [item for item in self.record.profiles if item.sequence <= room or self.record.cache_form == "new"]
        holding = [item for item in fitting if item.sequence >= count]
        return min(holding, key=lambda item: item.sequence) if holding else max(fitting, key=lambda item: item.sequence)

    def feeds(self, profile: Profile, tokens: Sequence[int]) -> Arrays:
        """Return the inputs of one run."""
        record, new, count = self.record, profile.sequence, len(tokens)
        ahead = new - count if record.cache_form == "whole" else 0
        ids = np.zeros((1, new), np.int64)
        ids[0, ahead : ahead + count] = tokens
        places = np.arange(new) - ahead + self.position
        queries = np.where((np.arange(new) >= ahead) & (np.arange(new) < ahead + count), places, EMPTY)
        feeds: Arrays = {**self.caches, **self.beside(new)}
        feeds[record.tokens or record.embeddings or ""] = ids if self.table is None else self.table.look_up(ids)
        if record.position_ids is not None:
            feeds[record.position_ids] = np.clip(places, 0, record.positions - 1)[None].astype(np.int64)
        for adapter in record.adapters:  # none: the model as it was
            feeds[adapter.down] = np.zeros((adapter.features, adapter.rank), np.float32)
            feeds[adapter.up] = np.zeros((adapter.rank, adapter.outputs), np.float32)
        if record.write_position is not None:
            feeds[record.write_position] = np.array([self.position], np.int64)
        if record.last_token is not None:
            feeds[record.last_token] = np.array([ahead + count - 1], np.int64)
        for mask in record.masks:
            keys = self._keys(mask, queries)
            shown = (keys >= 0) & (keys <= places[:, None])
            if mask.window is not None:
                shown &= keys > places[:, None] - mask.window
            added = bias_by_distance(mask.bias, places[:, None] - keys)
            feeds[mask.name] = np.where(shown, added, record.hidden).astype(np.float32)[None]
        return feeds

    def _keys(self, mask: MaskInput, queries: np.ndarray) -> np.ndarray:
        """Return the position of the token at each place that a mask covers."""
        if self.record.cache_form == "whole":
            return np.concatenate([self._moved[mask.length], queries])[len(queries) :]
        written = self.position + (0 if self.record.cache_form == "new" else len(queries))
        last = written - 1 - np.arange(mask.length)
        held = written - 1 - np.remainder(last, mask.length) if written else np.full(mask.length, EMPTY)
        return np.concatenate([held, queries]) if self.record.cache_form == "new" else held

    def _take(self, profile: Profile, feeds: Arrays, count: int) -> np.ndarray:
        outputs = self.run(profile, feeds)
        for cache in self.record.caches:
            self._keep(cache, np.asarray(outputs[cache.output]), count)
        if self.record.cache_form == "whole":
            ahead = np.full(profile.sequence - count, EMPTY)
            fresh = np.concatenate([ahead, np.arange(self.position, self.position + count)])
            self._moved = {length: np.concatenate([held, fresh])[len(fresh) :] for length, held in self._moved.items()}
        self.position += count
        logits = outputs[self.record.logits][0]
        if profile.logits == "last":
            return logits
        first = profile.sequence - count if self.record.cache_form == "whole" else 0
        return logits[first : first + count]

    def _keep(self, cache: CacheTensor, output: np.ndarray, count: int) -> None:
        if self.record.cache_form != "new":
            self.caches[cache.input] = output
            return
        kept = min(count, cache.length)
        places = np.arange(self.position + count - kept, self.position + count) % cache.length
        self.caches[cache.input] = held = self.caches[cache.input].copy()
        held[:, :, places] = output[:, :, count - kept : count]
