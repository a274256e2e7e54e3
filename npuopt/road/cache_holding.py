"""Holds a decoder's caches as integers, in all profiles the same way: half or a quarter of the memory of floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.bundle import HeldAs
from npuopt.errors import InternalError, UsageError
from npuopt.graph import Session
from npuopt.pipeline.catalogue import find_pass, with_options
from npuopt.quantization.arithmetic import affine_rows, as_float32
from npuopt.quantization.assignment.profiles import cache_holdings
from npuopt.quantization.encodings import Encoding
from npuopt.road.driving import Driver
from npuopt.road.profile_quantizing import read_texts, readable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.bundle import CacheTensor, LanguageModelRecord
    from npuopt.graph import Model
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.road.built import Built
    from npuopt.road.driving import TokenTable
    from npuopt.road.options import CacheScales, CompileOptions, Say
    from npuopt.road.source_calibration import Sources

TYPES: Mapping[str, IntegerType] = {"int8": "uint8", "int16": "uint16"}
"""What is asked for -> how it is held: with a zero point, as keys are not centred."""

AXES: Mapping[CacheScales, int | None] = {"tensor": None, "head": 1, "channel": 3}
"""Of a cache [1, heads, length, size]."""


def hold_caches(
    built: Mapping[str, Built],
    record: LanguageModelRecord,
    options: CompileOptions,
    *,
    table: TokenTable | None = None,
    sources: Sources | None = None,
    say: Say,
) -> LanguageModelRecord:
    """Let the caches of all profiles be integers where that is asked for; return the record that says so.

    A scheme that holds keys and values as integers of that size gives its own encodings: the caches come out of the
    graph as they are inside. Else ranges are seen on the calibration texts, cache by cache; `table` has the vectors of
    their tokens for profiles that take them, `sources` what they are answers to.

    Raises:
        UsageError: when there is nothing to see ranges on, or the graphs compute with fewer bits.
        InternalError: when two profiles would hold a cache in different ways.
    """
    wanted = options.language_model
    if wanted is None or wanted.cache_type is None:
        return record
    dtype, first = TYPES[wanted.cache_type], next(iter(built.values())).prepared.model
    own = {cache.input: cache.held_as for cache in record.caches if cache.held_as is not None}
    if all(_is_held(own.get(cache.input), dtype, wanted.cache_scales) for cache in record.caches):
        held = {name: Encoding.model_validate(found.model_dump()) for name, found in own.items()}
    else:
        _require_gain(own, dtype, wanted.cache_scales)
        if options.calibration is None:
            raise UsageError("ranges of an integer cache are seen on texts", hint="give them with --calibration")
        say("watching the caches")
        held = seen_encodings(first, record, options.calibration, dtype, wanted.cache_scales, table, sources)
    caches = {cache.input: cache.output for cache in record.caches}
    for item in built.values():
        insert = with_options(find_pass("insert-integer-cache"), {"caches": caches, "encodings": held})
        item.prepared.runner.run(item.prepared.model, [insert, find_pass("fuse-dequantize-quantize")()])
    record = record.model_copy(update={"caches": tuple(_as_held(cache, held[cache.input]) for cache in record.caches)})
    require_alike(record, {name: item.prepared.model for name, item in built.items()})
    return record


def seen_encodings(
    model: Model,
    record: LanguageModelRecord,
    texts: object,
    dtype: IntegerType,
    scales: CacheScales,
    table: TokenTable | None = None,
    sources: Sources | None = None,
) -> dict[str, Encoding]:
    """Return how each cache is held, by its input: all numbers that it held in any text fit.

    Args:
        model: the profile that takes most tokens in a run.
        record: what it takes.
        texts: a .npz of token ids.
        dtype: of the integers.
        scales: what of a cache shares one.
        table: has the vectors of tokens for a profile that takes them.
        sources: what the texts are answers to, one for each.
    """
    session, single = Session(model), record.model_copy(update={"profiles": record.profiles[:1]})
    lows = {cache.input: np.zeros((cache.heads, cache.size)) for cache in record.caches}
    highs = {name: low.copy() for name, low in lows.items()}
    driver = Driver(single, lambda _, feeds: session.run(feeds), table)

    def look() -> None:
        for name, array in driver.caches.items():
            lows[name] = np.minimum(lows[name], array.min(axis=(0, 2)))
            highs[name] = np.maximum(highs[name], array.max(axis=(0, 2)))

    rows = read_texts(texts, record, table)
    if sources is not None:
        sources.require_as_many(rows)
        driver.beside = sources.feeds
    for index, text in enumerate(rows):
        driver.reset()
        if sources is not None:
            sources.read(index)
        for _ in driver.samples(readable(text, single)):
            look()  # at what the runs before this one left
        look()
    return {name: _encoding(lows[name], highs[name], dtype, scales) for name in lows}


def require_alike(record: LanguageModelRecord, models: Mapping[str, Model]) -> None:
    """Check, on the graphs themselves, that each takes and gives every cache as the record says.

    Raises:
        InternalError: when one does not.
    """
    for name, model in models.items():
        found = cache_holdings(model, {cache.input: cache.output for cache in record.caches})
        for cache in record.caches:
            held = cache.held_as
            scales = () if held is None else held.scale
            said = None if held is None else (held.dtype, tuple(map(as_float32, scales)), held.zero_point)
            if found[cache.input] != {said}:
                raise InternalError(f"profile {name} holds the cache {cache.input} in another way than the others")


def _is_held(found: HeldAs | None, dtype: IntegerType, scales: CacheScales) -> bool:
    return found is not None and found.dtype == dtype and found.axis == AXES[scales]


def _require_gain(own: Mapping[str, HeldAs], dtype: IntegerType, scales: CacheScales) -> None:
    """Refuse a cache of more bits, or finer scales, than what the graphs make of it."""
    for name, found in own.items():
        if np.dtype(found.dtype).itemsize <= np.dtype(dtype).itemsize:
            raise UsageError(
                f"this scheme computes with keys and values of {found.dtype} and one scale for each cache, so nothing"
                f" is gained by {dtype} and a scale for each {scales}",
                where=name,
                hint=f"--cache-type {'int8' if found.dtype.endswith('t8') else 'int16'} takes them as they are",
            )


def _encoding(low: np.ndarray, high: np.ndarray, dtype: IntegerType, scales: CacheScales) -> Encoding:
    """Return the encoding of numbers between `low` and `high`, [heads, size]."""
    axis = AXES[scales]
    others = {None: (0, 1), 1: 1, 3: 0}[axis]
    lows, highs = np.atleast_1d(low.min(axis=others)), np.atleast_1d(high.max(axis=others))
    scale, zero_point = affine_rows(lows, highs, dtype)
    return Encoding(dtype=dtype, scale=tuple(scale.tolist()), zero_point=tuple(zero_point.tolist()), axis=axis)


def _as_held(cache: CacheTensor, held: Encoding) -> CacheTensor:
    record = HeldAs(dtype=held.dtype, scale=held.scale, zero_point=held.zero_point, axis=held.axis)
    return cache.model_copy(update={"dtype": held.dtype, "held_as": record})
