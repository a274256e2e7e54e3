"""Ends a stream of text where a stop sequence begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


class StopSequences:
    """Text goes in piece by piece; what cannot be part of a stop sequence comes out.

    A piece that may be the start of a stop sequence is held back until the next one decides.

    Args:
        sequences: texts that end the stream; none of them is given out.

    Raises:
        UsageError: when one of them is empty.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        if not all(sequences):
            raise UsageError("a stop sequence is empty")
        self._sequences = tuple(sequences)
        self._held = ""
        self.found: str | None = None

    def feed(self, piece: str) -> str:
        """Return the text that is certain now; `found` says whether the stream ends here."""
        text = self._held + piece
        places = [(place, stop) for stop in self._sequences if (place := text.find(stop)) >= 0]
        if places:
            place, self.found = min(places)
            self._held = ""
            return text[:place]
        waiting = max((_overlap(text, stop) for stop in self._sequences), default=0)
        self._held = text[len(text) - waiting :]
        return text[: len(text) - waiting]

    def finish(self) -> str:
        """Return what was held back, as no more text comes."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that is a proper start of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((length for length in range(longest, 0, -1) if text.endswith(stop[:length])), 0)
