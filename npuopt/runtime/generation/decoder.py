"""A compiled decoder that remembers: its profiles driven over its caches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from npuopt.errors import InputError, UsageError
from npuopt.runtime.generation.adapters import no_adapter, read_adapter
from npuopt.runtime.generation.caches import Caches
from npuopt.runtime.generation.places import NOTHING
from npuopt.runtime.generation.source import SourceReader
from npuopt.runtime.generation.tokenizer import require_known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from npuopt.bundle.language_model import GraphPart, LanguageModelRecord, Profile
    from npuopt.runtime.generation.embedding import Embedding

    Arrays = Mapping[str, np.ndarray]

PADDING_WORTH = 16
"""A run over a whole chunk takes about as long as this share of its tokens one by one (measured on the CPU: a token
of a chunk costs a tenth of a single one), so a chunk is padded from a sixteenth of its tokens on."""


class Engine(Protocol):
    """What runs a profile, or a part beside the profiles."""

    def run(self, part: GraphPart, feeds: Arrays, outputs: Sequence[str] | None = None) -> Mapping[str, np.ndarray]:
        """Run a static graph once and return its outputs by name.

        Args:
            part: the graph.
            feeds: its inputs.
            outputs: those that are wanted: what only others need may be left out. All when None.
        """
        ...


class CachedDecoder:
    """A decoder that reads tokens and remembers them.

    Args:
        record: what the artifact says of its model.
        engine: what runs the profiles.
        embedding: the table of token vectors, where the artifact keeps it out of the graphs.
        identity: a hash of the artifact, which binds saved sessions to it.
    """

    def __init__(
        self, record: LanguageModelRecord, engine: Engine, embedding: Embedding | None = None, *, identity: str = ""
    ) -> None:
        if record.embeddings is not None and embedding is None:
            raise InputError("the model takes looked-up vectors, and the artifact has no table of them")
        self.record, self.engine, self.identity, self._embedding = record, engine, identity, embedding
        self.adapter = ""
        self.caches = Caches(record)
        self._adapter_inputs = no_adapter(record)
        self.source = None if record.source is None else SourceReader(record.source, record.hidden, engine)
        self._kept = tuple(cache.output for cache in record.caches)
        self._profiles = sorted(record.profiles, key=lambda profile: -profile.sequence)

    @property
    def vocabulary(self) -> int:
        """Number of logits."""
        return self.record.vocabulary_size

    @property
    def context(self) -> int:
        """The most tokens that it remembers."""
        return self.record.context_length

    @property
    def length(self) -> int:
        """The tokens that it remembers now."""
        return self.caches.length

    def use_adapter(self, path: Path | None) -> None:
        """Swap the adapter, or drop it, and forget everything: what was read was read with the other one.

        Raises:
            InputError, UsageError: as `read_adapter`; the one before stays then.
        """
        inputs, name = (no_adapter(self.record), "") if path is None else read_adapter(path, self.record)
        self._adapter_inputs, self.adapter = inputs, name
        self.forget()

    def read_source(self, source: Sequence[int] | np.ndarray) -> None:
        """Read what is answered to, and forget the tokens before.

        Args:
            source: token ids, or numbers as the encoder takes them, such as a spectrogram.

        Raises:
            UsageError: when the model reads no source.
            InputError: when the source is too long, of another shape, or has ids outside the vocabulary.
        """
        if self.source is None:
            raise UsageError("the model reads no source: it is a decoder alone", hint="give the text as its prompt")
        self.source.read(source)
        self.forget()

    def forget(self) -> None:
        """Forget all tokens; a source stays."""
        self.caches.forget()

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` tokens: those of a draft, say, that the logits do not bear out.

        Raises:
            UsageError: when the caches cannot go back so far.
        """
        self.caches.rewind(length)

    def read(self, tokens: Sequence[int]) -> NDArray[np.floating]:
        """Read tokens after those it remembers; return the last one's logits, [vocabulary].

        Raises:
            InputError: when there are none, ids are outside the vocabulary, or they do not fit the context.
        """
        return self._read(tokens, self._profiles, all_logits=False)[-1][-1]

    def read_all(self, tokens: Sequence[int], profile: str | None = None) -> NDArray[np.floating]:
        """Read tokens and return the logits of each, [tokens, vocabulary].

        Args:
            tokens: after those it remembers.
            profile: read with this profile only; with any where None.

        Raises:
            UsageError: when the profile does not exist, or gives the logits of the last token only.
            InputError: as `read`; or the profile's runs do not come out even, which is for the form `whole` only.
        """
        usable = [found for found in self._profiles if profile in (None, found.name)]
        if not usable:
            raise UsageError(f"the artifact has no profile {profile!r}", hint=f"it has {', '.join(self.profile_names)}")
        usable = [found for found in usable if found.logits == "all" or found.sequence == 1]
        if not usable:
            raise UsageError("the profile gives the logits of the last token only", hint="compile with all logits")
        return np.concatenate(self._read(tokens, usable, all_logits=True))

    @property
    def profile_names(self) -> tuple[str, ...]:
        """Names of the profiles, by falling sequence length."""
        return tuple(profile.name for profile in self._profiles)

    def _read(
        self, tokens: Sequence[int], profiles: Sequence[Profile], *, all_logits: bool
    ) -> list[NDArray[np.floating]]:
        """Read tokens and return the logits of each run, or of the last one only, which spares the others the head."""
        ids = require_known(tokens, self.vocabulary)
        if not ids:
            raise InputError("there is no token to read")
        if self.length + len(ids) > self.context:
            raise InputError(
                f"{len(ids)} tokens after {self.length} do not fit a context of {self.context}",
                hint="shorten the prompt, or compile with a longer --context",
            )
        made: list[NDArray[np.floating]] = []
        while ids:
            profile, count = self._next_run(len(ids), profiles)
            logits = self._run(profile, ids[:count], with_logits=all_logits or count == len(ids))
            if logits is not None:
                made.append(logits)
            ids = ids[count:]
        return made

    def _next_run(self, remaining: int, profiles: Sequence[Profile]) -> tuple[Profile, int]:
        """Return the profile to run next and how many tokens it takes."""
        whole = [profile for profile in profiles if profile.sequence <= remaining]
        padded = [profile for profile in profiles if profile.sequence > remaining and self._may_pad(profile)]
        if self.record.cache_form == "whole" and whole and self.length == 0 and remaining % whole[0].sequence:
            return whole[0], remaining % whole[0].sequence  # padding can only lie ahead of a text
        if padded and (not whole or remaining > max(whole[0].sequence, padded[-1].sequence // PADDING_WORTH)):
            return padded[-1], remaining
        if not whole:
            raise InputError(
                f"{remaining} tokens after {self.length} cannot be read in chunks of {profiles[-1].sequence}",
                hint="compile a decode profile of one token too",
            )
        return whole[0], whole[0].sequence

    def _may_pad(self, profile: Profile) -> bool:
        if self.record.cache_form == "whole":
            return self.length == 0
        if self.record.cache_form == "in-place":  # padding is written too, and must not reach round the end
            return self.length + profile.sequence <= self.context
        return True

    def _run(self, profile: Profile, ids: list[int], *, with_logits: bool) -> NDArray[np.floating] | None:
        """Run a profile and return the logits of these tokens, or of the last one, [tokens or 1, vocabulary]."""
        new = self.caches.positions(len(ids), profile.sequence)
        real = np.flatnonzero(new != NOTHING)
        feeds = self._feeds(ids, new, real)
        if not with_logits:
            self.caches.take(self.engine.run(profile, feeds, self._kept), new)
            return None
        outputs = self.engine.run(profile, feeds)
        logits = outputs[self.record.logits]
        wanted = (1, profile.sequence if profile.logits == "all" else 1, self.vocabulary)
        if logits.shape != wanted:
            what = f"output {self.record.logits} is {list(logits.shape)}, not {list(wanted)}"
            raise InputError(what, hint="the artifact is damaged; compile again")
        self.caches.take(outputs, new)
        return logits[0, real] if profile.logits == "all" else logits[0]

    def _feeds(self, ids: list[int], new: NDArray[np.int64], real: NDArray[np.intp]) -> dict[str, np.ndarray]:
        record = self.record
        tokens = np.zeros(len(new), np.int64)
        tokens[real] = ids
        feeds = {**self.caches.feeds(new), **self._adapter_inputs}
        if self.source is not None:
            feeds |= self.source.feeds(len(new))
        if record.tokens is not None:
            feeds[record.tokens] = tokens[None]
        if record.embeddings is not None and self._embedding is not None:
            feeds[record.embeddings] = self._embedding.look_up(tokens)[None]
        if record.position_ids is not None:
            feeds[record.position_ids] = np.clip(new, 0, record.positions - 1)[None]
        if record.last_token is not None:
            feeds[record.last_token] = real[-1:].astype(np.int64)
        return feeds
