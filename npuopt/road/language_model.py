"""`compile` for language models: static profiles of one decoder in one artifact."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from npuopt.bundle import MANIFEST, TARGET_FILE, GraphPart, Manifest, atomic_folder, write_target
from npuopt.bundle.genai_config import CONFIG_FILE, TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, write_genai
from npuopt.delegates.contract import Limits
from npuopt.errors import InputError, UsageError, cannot_write
from npuopt.graph.saving import save_sharing
from npuopt.partition import extract_region, partition, save_refused
from npuopt.pipeline.runner import Runner
from npuopt.road.built import Built
from npuopt.road.cache_holding import hold_caches
from npuopt.road.compilation import compile_plan, compile_sharing, require_share, weight_sharer
from npuopt.road.decoding import cache_form, freeze_profile, lower_raised, merge_adapter, open_halves
from npuopt.road.embedding_table import place_table, token_table
from npuopt.road.figures import region_figures
from npuopt.road.fitting import compile_fitting
from npuopt.road.halving import is_written_by_compile, wide_scheme
from npuopt.road.language_model_memory import measure_memory, require_memory
from npuopt.road.language_model_records import DecoderCheck, describe, language_manifest
from npuopt.road.optimizing import observers
from npuopt.road.options import silent
from npuopt.road.preparation import choose_scheme, prepare
from npuopt.road.profile_quantizing import held_caches, quantize_profiles
from npuopt.road.records import CheckResult, check_result
from npuopt.road.source_parts import build_parts, open_sources, quantize_parts, with_parts, with_source
from npuopt.road.states import mark_states
from npuopt.target import load_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.bundle import CacheForm, LanguageModelRecord
    from npuopt.graph import Model
    from npuopt.road.compilation import Known
    from npuopt.road.decoding import Opened
    from npuopt.road.options import CompileOptions, LanguageModelOptions, Say
    from npuopt.target import Target

PROFILES = "profiles"
"""The folder of the profiles' models, those of their parts, the weights of all, and what was compiled of each."""


BESIDE = (TOKENIZER_FILE, TOKENIZER_CONFIG_FILE)
"""Files beside a model that are its tokenizer."""

LEAST_CONTEXT = 8
"""Tokens: masks and positions are told apart by computing them at a few lengths."""


def compile_language_model(
    model: Path, target: Target, out: Path, options: CompileOptions, *, say: Say = silent
) -> Manifest:
    """Compile a decoder into static profiles in the folder `out`, which appears whole or not at all.

    Raises:
        InputError: when the model is no decoder that is known, or does not fit the context.
        UsageError: when options do not go together.
        PlacementError: when it needs more memory than allowed, and nothing smaller is asked for or fits.
        ToolchainMissingError, VendorToolError: see their docstrings.
    """
    wanted = options.language_model
    if wanted is None:
        raise UsageError("a language model is compiled for a context", hint="give --context")
    if options.min_cosine:
        raise UsageError(
            "--min-cosine is for models without --context",
            hint="`npuopt evaluate OUT --against MODEL` tells them apart",
        )

    def attempt(tried: CompileOptions) -> Manifest:
        return _compile_once(model, target, out, tried, tried.language_model or wanted, say=say)

    return compile_fitting(attempt, target, options, wanted, say=say)


def _compile_once(
    model: Path, target: Target, out: Path, options: CompileOptions, wanted: LanguageModelOptions, *, say: Say
) -> Manifest:
    """Compile with just these options."""
    _require_sound(wanted, options.dims)
    form = cache_form(target, wanted.form)
    scheme = choose_scheme(target, options.precision, calibrated=options.calibration is not None)
    if is_written_by_compile(target, scheme):
        raise UsageError(
            f"a language model's profiles are not written in {scheme}",
            hint=f"compile in {wide_scheme(target)}, or `npuopt quantize --precision {scheme}` a model of fixed sizes",
        )
    if wanted.share_weights:
        weight_sharer(target)
    with atomic_folder(out) as folder:
        opened = open_halves(model, wanted, say=say)
        merge_adapter(opened, wanted)
        dumps = folder / "dumps" if options.dump else None
        built = build_profiles(opened, target, scheme, form, options, dumps, say=say)
        beside = build_parts(opened, target, scheme, options, dumps, say=say)
        record = with_source(describe(opened.decoder, built, form, wanted, PROFILES), opened, wanted, model)
        table = token_table(opened, record) if wanted.embedding == "host" else None
        sources = open_sources(record, beside, target, scheme, options)
        quantized = quantize_profiles(built, record, target, scheme, options, table=table, sources=sources, say=say)
        if quantized is not None and quantized.encodings is not None:
            quantized.write(folder)
            record = held_caches(record, quantized.encodings)
        record = hold_caches(built, record, options, table=table, sources=sources, say=say)
        quantize_parts(beside, target, scheme, options, sources=sources, say=say)
        parts = {**built, **beside}
        head = opened.decoder.logits if wanted.head == "region" else ""
        for name, item in parts.items():
            item.plan = partition(item.prepared.model, target, scheme, head=head if name in built else "")
            require_share(item.plan.summary.npu_fraction, options.min_npu, model, target)
        memory = measure_memory(record, parts, target, scheme)
        require_memory(memory, wanted.max_memory, record, model)
        made = _compile(parts, record, target, options, folder, say=say)
        record = with_parts(record, made).model_copy(update={"tokenizer": _carried(model, wanted, folder)})
        if table is not None:
            found = place_table(folder, record, table, as_integers=quantized is not None)
            record = record.model_copy(update={"embedding": found})
        if why := write_genai(folder, record):
            say(f"nothing for onnxruntime-genai: {why}")
        write_target(target, folder)
        manifest = language_manifest(model, target, scheme, options, parts, record, folder)
        manifest = manifest.model_copy(update={"metrics": memory.figures()})
        manifest.write(folder)
    return manifest


def check_language_model(
    model: Path,
    target_name: str,
    options: CompileOptions,
    *,
    save_nodes: Path | None = None,
    say: Say = silent,
) -> DecoderCheck:
    """Say what a decoder is, and where each node of its profiles would go; nothing is compiled.

    Raises:
        InputError, UsageError: as `compile_language_model`.
    """
    wanted = options.language_model
    if wanted is None:
        raise UsageError("a language model is looked at for a context", hint="give --context")
    target = load_target(target_name)
    _require_sound(wanted, options.dims)
    form = cache_form(target, wanted.form)
    scheme = choose_scheme(target, options.precision, calibrated=True)
    opened = open_halves(model, wanted, say=say)
    results: dict[str, CheckResult] = {}
    parts = build_parts(opened, target, scheme, options, None, say=say)
    for name, item in {**build_profiles(opened, target, scheme, form, options, None, say=say), **parts}.items():
        folder = None if save_nodes is None else save_nodes / name
        saved = [] if folder is None else save_refused(item.prepared.model, item.plan, folder)
        figures = [region_figures(part, target, scheme) for part in item.plan.regions]
        results[name] = check_result(model, target, scheme, item.prepared, item.plan, saved=saved, regions=figures)
    return DecoderCheck(opened.decoder.facts, results)


def build_profiles(
    opened: Opened,
    target: Target,
    scheme: str,
    form: CacheForm,
    options: CompileOptions,
    dumps: Path | None,
    *,
    say: Say,
) -> dict[str, Built]:
    """Make every profile and fit it to the target."""
    wanted = options.language_model
    assert wanted is not None  # noqa: S101 -- asked for by the callers
    built: dict[str, Built] = {}
    for name, new in wanted.lengths.items():
        say(f"profile {name}: {new} new tokens")
        runner = Runner(target, options.verify, observers(options.verify, {}, None if dumps is None else dumps / name))
        static = freeze_profile(opened, new, form, wanted)
        lower_raised(static, target, scheme)
        prepared = prepare(static, runner, {}, scheme=scheme, pass_files=options.pass_files, say=say)
        built[name] = Built(name, new, prepared, partition(prepared.model, target, scheme))
    return built


def _compile(
    built: Mapping[str, Built],
    record: LanguageModelRecord,
    target: Target,
    options: CompileOptions,
    folder: Path,
    *,
    say: Say,
) -> dict[str, GraphPart]:
    """Write every graph's model, with one file of weights, and compile its parts."""
    own = folder / PROFILES
    own.mkdir()
    sources = {name: {part.name: own / f"{name}.{part.name}.onnx" for part in built[name].plan.parts} for name in built}
    save_sharing(_models(built, record, target), own)
    made: dict[str, GraphPart] = {}
    wanted, limits = options.language_model, Limits(seconds=options.time_limit)
    known: Known = {}
    if wanted is not None and wanted.share_weights:
        say("compiling all parts into one binary")
        known = compile_sharing([item.plan for item in built.values()], list(sources.values()), target, own, limits)
    for name, item in built.items():
        say(f"{name}: compiling {len(item.plan.parts)} part(s)")
        item.compiled = compile_plan(
            item.plan, sources[name], target, options.host, own, limits, below=name, known=known
        )
        steps = tuple(item.compiled.steps)
        made[name] = GraphPart(name=name, model=f"{PROFILES}/{name}.onnx", folder=PROFILES, steps=steps)
    return made


def _models(built: Mapping[str, Built], record: LanguageModelRecord, target: Target) -> dict[str, Model]:
    """Return every profile's model, and each of its parts as a model of its own, by the names of their files."""
    models = {name: item.prepared.model for name, item in built.items()}
    for name, item in built.items():
        parts = {f"{name}.{part.name}": extract_region(item.prepared.model, part) for part in item.plan.parts}
        mark_states(parts.values(), record, target)
        models.update(parts)
    return models


def _require_sound(wanted: LanguageModelOptions, sizes: Mapping[str, int]) -> None:
    other = next((name for name, size in sizes.items() if size != 1), None)
    if other is not None:
        what = (
            f"dim {other} of {sizes[other]}: a language model is compiled for one text at once, and its lengths follow"
        )
        raise UsageError(f"{what} from --context and --chunk", hint="leave --dim out")
    if wanted.context < LEAST_CONTEXT:
        raise UsageError(f"a context of {wanted.context} is less than {LEAST_CONTEXT}, below which nothing can be told")
    for name, new in wanted.lengths.items():
        if not 0 < new <= wanted.context:
            raise UsageError(f"profile {name} of {new} tokens does not fit a context of {wanted.context}")
    missing = [path for path in wanted.tokenizer if not path.is_file()]
    if missing:
        raise InputError("there is no such file", where=str(missing[0]), hint="--tokenizer takes files")


def _carried(model: Path, wanted: LanguageModelOptions, folder: Path) -> tuple[str, ...]:
    """Copy the tokenizer's files into the artifact, where onnxruntime-genai looks for them; those beside the model."""
    beside = [path for name in BESIDE if (path := model.with_name(name)).is_file()]
    for path in wanted.tokenizer or beside:
        if (folder / path.name).exists() or path.name in (CONFIG_FILE, MANIFEST, TARGET_FILE):
            raise UsageError("two files of the artifact would be called so", where=str(path), hint="rename it")
        try:
            shutil.copyfile(path, folder / path.name)
        except OSError as error:
            raise cannot_write(error, path.name) from error
    return tuple(path.name for path in wanted.tokenizer or beside)
