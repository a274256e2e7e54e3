"""Text to token ids and back, with the `tokenizers` library: from a local file, never from a network."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from npuopt.bundle.end_tokens import MAX_FILE_BYTES, end_tokens
from npuopt.errors import InputError, ToolchainMissingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SMALLEST_SHARE = 0.5
"""Of the model's vocabulary that its tokenizer must know: logits are padded to round sizes, but not to twice."""

MOST_BEYOND = 16
"""Ids past the logits that a tokenizer may have, or a thousandth of all: tokens that stand for images or sound."""

LOOKED_BACK_AT = 16
"""Tokens before an answer that decide how it begins."""

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What bytes that are no whole character are decoded to."""


class Tokenizer:
    """A tokenizer that fits the model.

    Attributes:
        path: its file.
        end_tokens: ids that end a text.
    """

    def __init__(self, path: Path, vocabulary: int) -> None:
        """Open a tokenizer.

        Args:
            path: a `tokenizer.json`.
            vocabulary: the number of the model's logits.

        Raises:
            InputError: when the file cannot be read, or belongs to another model.
            ToolchainMissingError: when the library is not installed.
        """
        self.path = path
        self._tokenizer = _read(path)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        largest = max(ids.values(), default=-1)
        used = sum(number < vocabulary for number in ids.values())
        if used < SMALLEST_SHARE * vocabulary or largest >= vocabulary + max(MOST_BEYOND, vocabulary // 1000):
            raise InputError(
                f"is a tokenizer of {len(ids)} tokens up to id {largest}, which does not belong to a model with a"
                f" vocabulary of {vocabulary}",
                where=str(path),
            )
        self._vocabulary = vocabulary
        self._ids = ids
        special = {token.content for token in self._tokenizer.get_added_tokens_decoder().values() if token.special}
        self.end_tokens = frozenset(end_tokens(ids, special, path.with_name("tokenizer_config.json")))

    def encode(self, text: str, *, alone: bool = False) -> list[int]:
        """Return the ids of a text, with the tokens that the tokenizer puts around one, or `alone` without them.

        Raises:
            InputError: when an id is outside the model's vocabulary.
        """
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=not alone).ids
        return require_known(ids, self._vocabulary)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, special tokens left out."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def agrees_with(self, other: Tokenizer) -> bool:
        """Say whether both give all tokens the same ids."""
        return self._ids == other._ids

    def stream(self, before: Sequence[int] = ()) -> Detokenizer:
        """Return what turns the tokens after `before` into text as they come."""
        return Detokenizer(self._tokenizer, before)


class Detokenizer:
    """Turns tokens into text as they come; a character that several tokens make comes with the last of them."""

    def __init__(self, tokenizer: Any, before: Sequence[int] = ()) -> None:  # noqa: ANN401 -- the library has no types
        """Begin after the tokens `before`, which decide about spaces, and may end within a character."""
        decoders: Any = import_module("tokenizers.decoders")
        self._tokenizer = tokenizer
        latest = list(before)[-LOOKED_BACK_AT:]
        # A stream that begins within a character would give out all of the tokens that it began with.
        whole = next((end for end in range(len(latest), 0, -1) if not self._is_open(latest[:end])), 0)
        self._stream = decoders.DecodeStream(ids=latest[:whole] or None, skip_special_tokens=True)
        for token in latest[whole:]:
            self.feed(token)

    def _is_open(self, ids: Sequence[int]) -> bool:
        return self._tokenizer.decode(ids, skip_special_tokens=True).endswith(UNFINISHED)

    def feed(self, token: int) -> str:
        """Return the text that is certain now."""
        return self._stream.step(self._tokenizer, token) or ""


def require_known(ids: Sequence[int], vocabulary: int) -> list[int]:
    """Return token ids as a list.

    Raises:
        InputError: when one is no whole number, or outside the vocabulary.
    """
    for place, number in enumerate(ids):
        if not _is_whole(number):
            raise InputError(f"token {place} is {number!r}, not a token's id")
        if not 0 <= number < vocabulary:
            raise InputError(f"token {place} has the id {number}, outside the model's vocabulary of {vocabulary}")
    return [int(number) for number in ids]


def _is_whole(number: object) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def _read(path: Path) -> Any:  # noqa: ANN401 -- the library has no types
    try:
        library: Any = import_module("tokenizers")
    except ImportError as error:
        raise ToolchainMissingError("tokenizers is not installed", hint="pip install 'npuopt[generate]'") from error
    if not path.is_file():
        raise InputError("there is no such tokenizer file", where=str(path))
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"is larger than {MAX_FILE_BYTES} bytes", where=str(path))
    try:
        return library.Tokenizer.from_file(str(path))
    except Exception as error:
        raise InputError(f"is no tokenizer: {error}", where=str(path)) from error
