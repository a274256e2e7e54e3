"""Beside the road: compiled encoder-decoders on answers to sources, held against the halves as they were exported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from npuopt.errors import InputError, UsageError
from npuopt.evaluate.next_tokens import NextTokens
from npuopt.evaluate.token_samples import IDS
from npuopt.graph import dims, load
from npuopt.graph.execution import Session
from npuopt.road.options import Say, silent
from npuopt.road.source_calibration import ARRAY
from npuopt.runtime import open_decoder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from npuopt.bundle import LanguageModelRecord, SourceRecord
    from npuopt.runtime import Engine
    from npuopt.runtime.generation.decoder import CachedDecoder

    Arrays = Mapping[str, np.ndarray]

STATES_RANK, MASK_RANK, CACHE_RANK = 3, 2, 4
PADDING = -1


def compare_answers(
    path: Path,
    against: Path,
    references: Arrays,
    *,
    encoder: Path | None = None,
    limit: int | None = None,
    profile: str | None = None,
    engine: Engine = "cpu",
    say: Say = silent,
) -> dict[str, Any]:
    """Hold a compiled encoder-decoder against another one, or against its exported halves, answer by answer.

    Args:
        path: the artifact.
        against: another artifact, or a decoder's ONNX file.
        references: `source`, a row for each text, and the ids of the answers [texts, tokens] under the name of the
            decoder's input; token ids are padded with -1 at the end. As for calibration.
        encoder: the other half's ONNX file, where `against` is one.
        limit: the most texts.
        profile: read answers with this profile only.
        engine: what runs artifacts.
        say: told what is being done.

    Raises:
        InputError: when an array is missing, rows differ in number, or one does not fit the model.
        UsageError: when a half is missing.
    """
    own = open_decoder(path, engine=engine)
    sources, answers = _rows(references, own.record)
    if against.is_dir():
        other = _Compiled(open_decoder(against, engine=engine))
    elif encoder is None:
        raise UsageError("an encoder-decoder is compared with both halves", hint="give the other one: --encoder FILE")
    else:
        other = _Halves(own.record, encoder, against)
    totals, compiled = NextTokens(), _Compiled(own, profile)
    for index, (row, answer) in enumerate(zip(sources, answers, strict=True)):
        if index == limit:
            break
        ids, source = _unpadded(answer), _unpadded(row) if row.dtype.kind in "iu" else row
        if len(ids) < 2:
            raise InputError(f"answer {index} has {len(ids)} tokens, and none follows the first")
        totals.add(compiled.logits(source, ids[:-1]), other.logits(source, ids[:-1]), ids[1:])
        say(f"answer {index + 1} of {len(answers)}")
    return {
        "model": str(path),
        "against": str(against),
        "profile": profile,
        "answers": len(answers) if limit is None else min(limit, len(answers)),
        "tokens": totals.tokens,
        **totals.figures(),
    }


@dataclass
class _Compiled:
    """An artifact."""

    decoder: CachedDecoder
    profile: str | None = None

    def logits(self, source: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Return those of an answer's tokens, [tokens, vocabulary]."""
        self.decoder.read_source(source)
        return self.decoder.read_all(ids.tolist(), self.profile)


class _Halves:
    """An encoder and a decoder as they were exported.

    Args:
        record: of the artifact that was made of them, which knows the names of their inputs.
        encoder, decoder: ONNX files.
    """

    def __init__(self, record: LanguageModelRecord, encoder: Path, decoder: Path) -> None:
        self._source, self._tokens = _source(record), record.tokens or IDS
        self._encoder, self._decoder = Session(encoder, optimize=True), Session(decoder, optimize=True)
        shapes: dict[str, tuple[int | str | None, ...]] = {
            value.name or "": dims(value) or () for value in load(decoder).graph.inputs
        }
        needed = (self._source.states_input, self._tokens)
        if missing := [name for name in needed if name not in shapes]:
            raise InputError(f"has no input {missing[0]!r}, which the artifact's decoder had", where=str(decoder))
        if self._source.input not in self._encoder.inputs:
            raise InputError(f"has no input {self._source.input!r}, which the artifact's had", where=str(encoder))
        self._others = {name: shape for name, shape in shapes.items() if name not in needed}
        self._lengths = {name: shapes[name][1] for name in needed}

    def logits(self, source: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Return those of an answer's tokens, [tokens, vocabulary]."""
        name = self._source.input
        given = source[None].astype(self._encoder.input_type(name))
        feeds = {other: np.ones(given.shape[:2], self._encoder.input_type(other)) for other in self._encoder.inputs}
        made = self._encoder.run({**feeds, name: given})
        states = next(array for array in made.values() if array.ndim == STATES_RANK)
        feeds = {self._source.states_input: states, self._tokens: ids[None].astype(np.int64)}
        lengths = {self._lengths[other]: array.shape[1] for other, array in feeds.items()}
        for other, shape in self._others.items():
            feeds[other] = self._filled(other, shape, lengths)
        output = next(name for name in self._decoder.outputs if name not in self._others)
        return self._decoder.run(feeds, [output])[output][0]

    def _filled(self, name: str, shape: tuple[Any, ...], lengths: Mapping[Any, int]) -> np.ndarray:
        """Return a mask of ones, or an empty cache."""
        kind = self._decoder.input_type(name)
        if len(shape) == MASK_RANK and len(lengths) == MASK_RANK and shape[1] in lengths:
            return np.ones((1, lengths[shape[1]]), kind)
        if len(shape) == CACHE_RANK:
            return np.zeros([1, *(size if isinstance(size, int) else 0 for size in shape[1:])], kind)
        raise InputError(f"what the decoder's input {name!r} of shape {list(shape)} is for is not clear")


def _source(record: LanguageModelRecord) -> SourceRecord:
    if record.source is None:
        raise UsageError("one of the models reads no source: it is a decoder alone")
    return record.source


def _rows(references: Arrays, record: LanguageModelRecord) -> tuple[np.ndarray, np.ndarray]:
    """Return the sources and the answers."""
    name, is_tokens = record.tokens or IDS, _source(record).vocabulary is not None
    missing = [array for array in (ARRAY, name) if array not in references]
    if missing:
        raise InputError(
            f"the data has no array {missing[0]!r}", hint=f"an encoder-decoder is evaluated on {ARRAY!r} and {name!r}"
        )
    sources, answers = references[ARRAY], references[name]
    if sources.ndim < 2 or sources.dtype.kind not in ("iu" if is_tokens else "f"):
        raise InputError(f"{ARRAY!r} is {sources.dtype} {list(sources.shape)}, not a row for each text")
    if answers.ndim != 2 or answers.dtype.kind not in "iu" or len(answers) != len(sources):
        what = f"{name!r} is {answers.dtype} {list(answers.shape)}, not token ids [{len(sources)}, tokens]"
        raise InputError(what, hint="give an answer for each source")
    return sources, answers


def _unpadded(ids: np.ndarray) -> np.ndarray:
    return ids[ids != PADDING].astype(np.int64)
