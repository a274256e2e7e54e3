"""The road for encoder-decoders: what the decoder makes of the encoder's states once, apart from the decoder itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from npuopt.bundle import CrossCache, SourceRecord
from npuopt.decoder.source import require_padding_mask
from npuopt.errors import InputError, UsageError
from npuopt.graph import dims, element_type, extract, input_at, nodes, rank, static_shape
from npuopt.passes.freeze.insert_source_inputs import InsertSourceInputs
from npuopt.pipeline.catalogue import find_pass
from npuopt.pipeline.recipes import CLEAN
from npuopt.road.encoding import BATCHED, freeze_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from npuopt.decoder.source import CrossLayer, Source
    from npuopt.graph import Model
    from npuopt.pipeline.runner import Runner
    from npuopt.road.encoding import Encoder
    from npuopt.road.options import LanguageModelOptions

ENCODER, CROSS = "encoder", "cross"
"""Names of the parts beside the profiles."""
CROSS_MASK = "cross_mask"
PAST_KEY, CACHE_RANK = 4, 4
CONFIGURATIONS = ("generation_config.json", "config.json")
"""Files beside a decoder that may say which token an answer begins with."""
LARGEST_CONFIGURATION = 1 << 20
"""Bytes."""


class _Configuration(BaseModel):
    """What is read of a configuration."""

    decoder_start_token_id: int | None = None


def split_source(model: Model, runner: Runner, source: Source, encoder: Encoder) -> tuple[Model, Model]:
    """Return a decoder that is given what it makes of the encoder's states, and the model that makes it.

    Raises:
        InputError: when the states are of another width or length than the encoder's.
    """
    values = {value.name: value for value in model.graph.inputs}
    states = values[source.states]
    wanted = dims(states) or ()
    if any(
        isinstance(size, int) and size != given
        for size, given in zip(wanted[1:], (encoder.length, encoder.width), strict=True)
    ):
        raise InputError(f"takes states {list(wanted)}, and the encoder gives {[1, encoder.length, encoder.width]}")
    sizes = {value.name or "": {0: 1} for value in model.graph.inputs}
    for name in filter(None, (source.states, source.mask)):
        sizes[name] = {0: 1, 1: encoder.length}
    freeze_inputs(model, runner, sizes)
    runner.run_until_stable(model, [find_pass(name)() for name in ("fuse-key-value-cache", *CLEAN)])  # sizes tell more
    tokens = next(
        (value.name or "" for value in model.graph.inputs if rank(value) == BATCHED and value.name != source.mask), ""
    )
    require_padding_mask(model, source, tokens)
    names = cross_names(source.layers)
    made = extract(model, [source.states], [name for layer in source.layers for name in (layer.key, layer.value)])
    for value, name in zip(made.graph.outputs, (name for pair in names for name in pair), strict=True):
        value.name = name
    places = [
        (value, name, (1, layer.heads, encoder.length, size))
        for layer, pair in zip(source.layers, names, strict=True)
        for value, name, size in zip((layer.key, layer.value), pair, (layer.key_size, layer.value_size), strict=True)
    ]
    model = _without_source_outputs(model, source)
    masks = tuple((name, None) for name in source.masks)
    shape = (1, 1, "new_tokens", encoder.length)
    runner.run(model, [InsertSourceInputs(tuple(places), masks, CROSS_MASK, shape)])
    runner.run_until_stable(model, [find_pass(name)() for name in CLEAN])
    return model, made


def _without_source_outputs(model: Model, source: Source) -> Model:
    """Return the decoder without the outputs that give back the source's keys and values, or its own without a past."""
    caches = any(input_at(node, PAST_KEY) is not None for node in nodes(model, "Attention"))
    given = {name for layer in source.layers for name in (layer.key, layer.value)}
    kept = [value for value in model.graph.outputs if value.name not in given and (caches or rank(value) != CACHE_RANK)]
    return extract(model, outputs=[value.name or "" for value in kept])


def cross_names(layers: Sequence[CrossLayer]) -> list[tuple[str, str]]:
    """Return the names of each layer's keys and values of the source."""
    return [(f"cross_key_{index}", f"cross_value_{index}") for index in range(len(layers))]


def source_record(encoder: Encoder, source: Source, decoder: Model, start: int) -> SourceRecord:
    """Return what an artifact says of the source; nothing of it is compiled yet."""
    inputs = {value.name: value for value in encoder.model.graph.inputs}
    value = inputs[encoder.input]
    kind = element_type(value)
    given = {item.name for item in decoder.graph.inputs}
    return SourceRecord(
        input=encoder.input,
        shape=static_shape(value) or (),
        dtype="float32" if kind is None else str(kind.numpy()),
        vocabulary=encoder.vocabulary,
        length=encoder.length,
        encoder_mask=encoder.mask or None,
        states=encoder.states,
        states_input=source.states,
        cross_mask=CROSS_MASK if CROSS_MASK in given else None,
        caches=tuple(
            CrossCache(name=name, heads=layer.heads, size=size)
            for layer, pair in zip(source.layers, cross_names(source.layers), strict=True)
            for name, size in zip(pair, (layer.key_size, layer.value_size), strict=True)
        ),
        start_token=start,
    )


def start_token(path: Path, options: LanguageModelOptions, vocabulary: int) -> int:
    """Return the token that an answer begins with: as asked for, or as a configuration beside the decoder says.

    Raises:
        UsageError: when neither says one of the vocabulary.
    """
    found = options.start_token
    for name in CONFIGURATIONS:
        beside = path.with_name(name)
        if found is None and beside.is_file() and beside.stat().st_size <= LARGEST_CONFIGURATION:
            found = _said(beside)
    if found is None:
        hint = f"give --start-token N, or lay a {CONFIGURATIONS[0]} with decoder_start_token_id beside the decoder"
        raise UsageError("which token an answer begins with is not known", where=str(path), hint=hint)
    if not 0 <= found < vocabulary:
        raise UsageError(f"token {found}, which an answer is to begin with, is outside the vocabulary of {vocabulary}")
    return found


def _said(path: Path) -> int | None:
    try:
        return _Configuration.model_validate_json(path.read_bytes()).decoder_start_token_id
    except (OSError, ValueError):
        return None
