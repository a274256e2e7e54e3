"""Sources for calibration: led through the float encoder, so that every part sees what it will be given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from npuopt.bundle import GraphPart
from npuopt.errors import InputError
from npuopt.graph import Session
from npuopt.road.encoder_decoder import CROSS, ENCODER
from npuopt.runtime.generation.source import SourceReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from npuopt.bundle import LanguageModelRecord
    from npuopt.road.built import Built

    Arrays = dict[str, np.ndarray]

ARRAY = "source"
"""What a calibration file calls the sources: a row for each text; token ids are padded with -1 at the end."""

LARGEST_SOURCES = 1 << 30
"""Bytes of a calibration file."""


@dataclass
class _FloatParts:
    """Runs both parts in float, and remembers what it last fed each."""

    sessions: Mapping[str, Session]
    last: dict[str, Arrays] = field(default_factory=dict[str, "Arrays"])

    def run(
        self, part: GraphPart, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None
    ) -> Mapping[str, np.ndarray]:
        """Run a part once."""
        self.last[part.name] = dict(feeds)
        return self.sessions[part.name].run(feeds, outputs)


class Sources:
    """The sources of a calibration file.

    Args:
        record: what the decoder takes; says what a source is.
        built: the parts, in float still.
        path: a .npz that has the sources.
    """

    def __init__(self, record: LanguageModelRecord, built: Mapping[str, Built], path: object) -> None:
        assert record.source is not None  # noqa: S101 -- asked for by the caller
        parts = {name: GraphPart(name=name, model=name, folder=name) for name in (ENCODER, CROSS)}
        self._engine = _FloatParts({name: Session(built[name].prepared.model) for name in parts})
        source = record.source.model_copy(update=parts)
        self._reader = SourceReader(source, record.hidden, self._engine)
        self._path = path
        self._rows = _read(path, is_tokens=source.vocabulary is not None)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._rows)

    def require_as_many(self, texts: np.ndarray) -> None:
        """Check that there is one for each text.

        Raises:
            InputError: when there is not.
        """
        if len(self) != len(texts):
            what = f"has {len(self)} sources for {len(texts)} texts"
            raise InputError(what, where=str(self._path), hint="give one for each")

    def read(self, index: int) -> None:
        """Lead a source through both parts."""
        row = self._rows[index]
        self._reader.read(row[row >= 0].tolist() if self._reader.record.vocabulary is not None else row)

    def feeds(self, sequence: int) -> Arrays:
        """Return what a profile takes of the source that was read last."""
        return self._reader.feeds(sequence)

    def samples(self, name: str) -> Samples:
        """Return what one part is fed for each source."""
        return Samples(self, name)

    def fed(self, name: str) -> Iterator[Arrays]:
        """Yield what one part is fed for each source."""
        for index in range(len(self)):
            self.read(index)
            yield self._engine.last[name]


class Samples:
    """What one part is fed, as calibration reads it."""

    def __init__(self, sources: Sources, name: str) -> None:
        self._sources, self._name = sources, name
        self._left = sources.fed(name)

    def get_next(self) -> Arrays | None:
        """Return the inputs of the next run, or None at the end."""
        return next(self._left, None)

    def rewind(self) -> None:
        """Start again."""
        self._left = self._sources.fed(self._name)


def _read(path: object, *, is_tokens: bool) -> np.ndarray:
    """Return the sources of a calibration file, a row for each text.

    Raises:
        InputError: when there is no such array.
    """
    where = str(path)
    if not isinstance(path, str | Path) or not Path(path).is_file():
        raise InputError(
            f"an encoder-decoder is calibrated with a .npz that has {ARRAY!r}, a row for each text", where=where
        )
    try:
        if Path(path).stat().st_size > LARGEST_SOURCES:
            raise InputError(f"is larger than {LARGEST_SOURCES} bytes", where=where)
        with np.load(path, allow_pickle=False) as archive:
            rows = np.asarray(archive[ARRAY])
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"has no array {ARRAY!r} of sources that can be read: {error}", where=where) from error
    if rows.ndim < 2 or not len(rows) or rows.dtype.kind not in ("iu" if is_tokens else "f"):
        kind = "token ids [texts, tokens]" if is_tokens else "numbers, a row for each text"
        raise InputError(f"{ARRAY!r} is {rows.dtype} {list(rows.shape)}, not {kind}", where=where)
    return rows
