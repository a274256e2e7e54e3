"""Quantizes all profiles of a decoder at once: ranges are seen in one of them, and all hold tensors the same way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from npuopt.bundle import HeldAs
from npuopt.errors import InputError, InternalError
from npuopt.graph import Session
from npuopt.pipeline.catalogue import find_pass, with_options
from npuopt.quantization import Encodings
from npuopt.quantization.assignment.profiles import carried_over, drift, tied
from npuopt.quantization.rounding.weight_only import held_weights
from npuopt.road.driving import Driver, TokenTable
from npuopt.road.forming import write_form, written_as
from npuopt.road.quantizing import quantize_model
from npuopt.road.stepping import run_rewrites

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from npuopt.bundle import LanguageModelRecord
    from npuopt.road.built import Built
    from npuopt.road.options import CompileOptions, Say
    from npuopt.road.quantizing import Quantized
    from npuopt.road.source_calibration import Sources
    from npuopt.target import Target

LARGEST_TEXTS = 1 << 30
"""Bytes of a calibration file."""


def quantize_profiles(
    built: Mapping[str, Built],
    record: LanguageModelRecord,
    target: Target,
    scheme: str,
    options: CompileOptions,
    *,
    table: TokenTable | None = None,
    sources: Sources | None = None,
    say: Say,
) -> Quantized | None:
    """Quantize the prepared profiles in place; returns what was done, or None where the scheme is a float one.

    The first profile, which takes most tokens in a run, is led through the calibration texts with the keys and values
    that it makes itself. What the ranges give holds for all profiles: tensors, uses, rounded weights.

    `table` has the vectors of tokens for profiles that take them, `sources` what texts are answers to.

    Raises:
        InternalError: when two profiles would hold a tensor in different ways.
    """
    found = target.scheme(scheme)
    plain = replace(options, language_model=None, verify="off")
    if found.is_float:
        if not found.is_weight_only:
            return None
        texts = None
        if options.calibration is not None:
            texts = Texts(record, next(iter(built.values())).prepared.model, options.calibration, table, sources)
        return _hold_all(built, target, scheme, replace(plain, calibration=texts), say=say)
    first = next(iter(built.values()))
    reader = Texts(record, first.prepared.model, options.calibration, table, sources)
    quantized = quantize_model(
        first.prepared, target, scheme, replace(plain, calibration=reader), keep_float=True, say=say
    )
    before = quantized.before
    if before is None or quantized.encodings is None:
        raise InternalError(f"scheme {scheme} quantized nothing")
    pairs = [(cache.input, cache.output) for cache in record.caches]
    shared, float_first = tied(before.encodings, pairs), before.model
    for item in built.values():
        say(f"profile {item.name}: inserting quantize and dequantize")
        if item is first:
            item.prepared.model = float_first.clone()
        else:
            run_rewrites(item.prepared, shared.rewrites)
        own = carried_over(shared, float_first, item.prepared.model)
        if differing := drift(shared, own):
            raise InternalError(f"profile {item.name} holds {differing[0]!r} in another way than {first.name}")
        integers = {
            name: array for name, array in before.integers.items() if name in item.prepared.model.graph.initializers
        }
        insert = with_options(find_pass("insert-quantize-dequantize"), {"encodings": own, "integers": integers})
        item.prepared.runner.run(item.prepared.model, [insert])
    quantized.encodings = shared
    quantized.before = None
    return quantized


def _hold_all(
    built: Mapping[str, Built], target: Target, scheme: str, options: CompileOptions, *, say: Say
) -> Quantized:
    """Hold the weights of the first profile as integers, by its samples where there are any; the others share them."""
    first, *others = [item.prepared for item in built.values()]
    quantized = quantize_model(first, target, scheme, options, say=say)
    for prepared in others:
        encodings = quantized.encodings or Encodings(tensors={})
        run_rewrites(prepared, encodings.rewrites)
        known = {name: how for name, how in encodings.blocks.items() if name in prepared.model.graph.initializers}
        found = {"encodings": encodings.model_copy(update={"blocks": known}), "held": first.model}
        prepared.runner.run(prepared.model, [with_options(find_pass("insert-weight-dequantize"), found)])
        if options.encodings is None and held_weights(prepared.model, target, scheme).blocks:
            alone = replace(options, calibration=None)  # the texts' samples are those of the first profile
            quantize_model(prepared, target, scheme, alone, say=say)
    for item in built.values():
        write_form(item.prepared, written_as("qdq", target, scheme))
    return quantized


def held_caches(record: LanguageModelRecord, encodings: Encodings) -> LanguageModelRecord:
    """Return the record with how the graphs round each cache."""
    caches = [
        cache
        if (held := encodings.tensors.get(cache.input)) is None
        else cache.model_copy(
            update={"held_as": HeldAs(dtype=held.dtype, scale=held.scale, zero_point=held.zero_point, axis=held.axis)}
        )
        for cache in record.caches
    ]
    return record.model_copy(update={"caches": tuple(caches)})


@dataclass
class Texts:
    """Calibration samples of a decoder with a cache: each text is led through it chunk by chunk.

    Attributes:
        record: what the profile takes.
        model: the profile, in float.
        source: a .npz with an array of token ids under the name of the input, [texts, ..., tokens].
        table: has the vectors of tokens for a profile that takes them.
        sources: what the texts are answers to, one for each.
    """

    record: LanguageModelRecord
    model: object
    source: object
    table: TokenTable | None = None
    sources: Sources | None = None
    _samples: Iterator[dict[str, np.ndarray]] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Read the tokens and open the profile."""
        self._tokens = read_texts(self.source, self.record, self.table)
        if self.sources is not None:
            self.sources.require_as_many(self._tokens)
        self._session = Session(self.model, threads=0)  # type: ignore[arg-type]

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the inputs of the next run, or None at the end."""
        if self._samples is None:
            self._samples = self._run_all()
        return next(self._samples, None)

    def rewind(self) -> None:
        """Start again."""
        self._samples = None

    def _run_all(self) -> Iterator[dict[str, np.ndarray]]:
        single = self.record.model_copy(update={"profiles": self.record.profiles[:1]})
        for index, text in enumerate(self._tokens):
            driver = Driver(single, lambda _, feeds: self._session.run(feeds), self.table)
            if self.sources is not None:
                self.sources.read(index)
                driver.beside = self.sources.feeds
            yield from driver.samples(readable(text, single))


def readable(text: np.ndarray, record: LanguageModelRecord) -> list[int]:
    """Return what of a text the only profile of the record can read: all of it, up to the context.

    A cache that is written in place has no room for the padding of a chunk that reaches over its end.
    """
    sequence, count = record.profiles[0].sequence, min(len(text), record.context_length)
    over = record.cache_form == "in-place" and -(-count // sequence) * sequence > record.context_length
    return text[: count - count % sequence if over else count].tolist()


def read_texts(source: object, record: LanguageModelRecord, table: TokenTable | None = None) -> np.ndarray:
    """Return token ids [texts, tokens] of a calibration file; `table` says what they are called where it is split off.

    Raises:
        InputError: when there is no such array, or it has ids outside the vocabulary.
    """
    name = record.tokens or record.embeddings or "" if table is None else table.tokens
    if not isinstance(source, str | Path) or not Path(source).is_file():
        raise InputError(
            f"a language model is calibrated with a .npz that has token ids [texts, tokens] as {name!r}",
            where=str(source),
        )
    path = Path(source)
    try:
        if path.stat().st_size > LARGEST_TEXTS:
            raise InputError(f"is larger than {LARGEST_TEXTS} bytes", where=str(path))
        with np.load(path, allow_pickle=False) as archive:
            ids = np.asarray(archive[name])
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"has no token ids {name!r} that can be read: {error}", where=str(path)) from error
    if ids.ndim < 2 or ids.dtype.kind not in "iu" or ids.size == 0:
        raise InputError(f"{name!r} is {ids.dtype} {list(ids.shape)}, not token ids [texts, tokens]", where=str(path))
    if ids.min() < 0 or ids.max() >= record.vocabulary_size:
        raise InputError(
            f"{name!r} has token id {int(ids.max()) if ids.min() >= 0 else int(ids.min())}, outside the vocabulary of"
            f" {record.vocabulary_size}",
            where=str(path),
        )
    return ids.reshape(-1, ids.shape[-1])
