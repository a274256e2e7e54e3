"""The graphs beside a decoder's profiles, where it reads a source: the encoder, and its states' keys and values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from npuopt.errors import InternalError
from npuopt.partition import partition
from npuopt.pipeline.runner import Runner
from npuopt.road.built import Built
from npuopt.road.decoding import lower_raised
from npuopt.road.encoder_decoder import CROSS, ENCODER, source_record, start_token
from npuopt.road.forming import write_form, written_as
from npuopt.road.optimizing import observers
from npuopt.road.preparation import prepare
from npuopt.road.quantizing import quantize_model
from npuopt.road.source_calibration import Sources

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from npuopt.bundle import GraphPart, LanguageModelRecord
    from npuopt.road.decoding import Opened
    from npuopt.road.options import CompileOptions, LanguageModelOptions, Say
    from npuopt.target import Target


def build_parts(
    opened: Opened, target: Target, scheme: str, options: CompileOptions, dumps: Path | None, *, say: Say
) -> dict[str, Built]:
    """Fit the encoder, and what makes keys and values of its states, to the target; nothing without an encoder."""
    if opened.encoder is None or opened.cross is None:
        return {}
    built: dict[str, Built] = {}
    for name, model in ((ENCODER, opened.encoder.model), (CROSS, opened.cross)):
        say(f"part {name}: a source of {opened.encoder.length}")
        static = model.clone()
        lower_raised(static, target, scheme)
        runner = Runner(target, options.verify, observers(options.verify, {}, None if dumps is None else dumps / name))
        prepared = prepare(static, runner, {}, scheme=scheme, pass_files=options.pass_files, say=say)
        built[name] = Built(name, opened.encoder.length, prepared, partition(prepared.model, target, scheme))
    return built


def open_sources(
    record: LanguageModelRecord, built: Mapping[str, Built], target: Target, scheme: str, options: CompileOptions
) -> Sources | None:
    """Open the sources for calibration, while the parts are in float; None where nothing is calibrated."""
    wanted = options.language_model
    watched = wanted is not None and wanted.cache_type is not None and options.calibration is not None
    if record.source is None or (target.scheme(scheme).is_float and not watched):
        return None
    return Sources(record, built, options.calibration)


def quantize_parts(
    built: Mapping[str, Built],
    target: Target,
    scheme: str,
    options: CompileOptions,
    *,
    sources: Sources | None = None,
    say: Say,
) -> None:
    """Quantize the parts in place by what sources make of them, or hold their weights as a weight-only scheme says."""
    found = target.scheme(scheme)
    for item in built.values() if found.is_weight_only or not found.is_float else ():
        say(f"part {item.name}: quantizing")
        samples = None if sources is None or found.is_weight_only else sources.samples(item.name)
        plain = replace(options, language_model=None, calibration=samples, encodings=None, verify="off")
        quantize_model(item.prepared, target, scheme, plain, say=say)
        write_form(item.prepared, written_as("qdq", target, scheme))


def with_source(
    record: LanguageModelRecord, opened: Opened, wanted: LanguageModelOptions, path: Path
) -> LanguageModelRecord:
    """Return the record with what the decoder reads besides its own tokens."""
    decoder = opened.decoder
    if opened.encoder is None or decoder.source is None:
        return record
    start = start_token(path, wanted, decoder.vocabulary)
    source = source_record(opened.encoder, decoder.source, opened.model, start)
    return record.model_copy(update={"source": source})


def with_parts(record: LanguageModelRecord, made: Mapping[str, GraphPart]) -> LanguageModelRecord:
    """Return the record with what became of each of its graphs."""
    profiles = tuple(item.model_copy(update={"steps": made[item.name].steps}) for item in record.profiles)
    if record.source is None:
        return record.model_copy(update={"profiles": profiles})
    if ENCODER not in made or CROSS not in made:
        raise InternalError("an encoder was described and not compiled")
    source = record.source.model_copy(update={"encoder": made[ENCODER], "cross": made[CROSS]})
    return record.model_copy(update={"profiles": profiles, "source": source})
