"""The road: load, prepare, quantize, partition, compile, verify. Nothing flows backwards.

Each function is what the command of the same name does. Errors are npuopt.errors.NpuoptError.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO

from npuopt.bundle import Manifest, Stage, atomic_folder, write_target
from npuopt.delegates.contract import Limits
from npuopt.delegates.registry import find_delegate
from npuopt.errors import UsageError, cannot_write
from npuopt.graph import save
from npuopt.graph.saving import replacing
from npuopt.partition import partition
from npuopt.quantization.assignment.precisions import precisions_text
from npuopt.road import records
from npuopt.road.agreement import advice, disagreements, require_agreement
from npuopt.road.checking import Refused, check, check_targets, for_each_target
from npuopt.road.compilation import compile_plan, model_runs, reference_runs, require_share, save_parts, stage
from npuopt.road.evaluating import EvaluateOptions, evaluate
from npuopt.road.figures import MemoryFigures, RegionFigures
from npuopt.road.forming import encodings_beside, model_to_write, quantize_source
from npuopt.road.halving import is_written, is_written_by_compile, ranked_in_half, require_change
from npuopt.road.importing import open_prepared
from npuopt.road.inspection import bisect, compare, extract
from npuopt.road.keeping import encodings_text
from npuopt.road.language_model import check_language_model, compile_language_model
from npuopt.road.layering import layer_stages
from npuopt.road.optimizing import Wanted, optimize, optimize_profiles
from npuopt.road.options import DEFAULTS, CompileOptions, Say, silent
from npuopt.road.preparation import Prepared
from npuopt.road.quantizing import Quantized, check_quantized, quantize_model
from npuopt.road.records import CheckResult, Journey
from npuopt.road.running import run
from npuopt.road.sensing import rank_layers
from npuopt.road.step_effects import measure_steps
from npuopt.runtime.artifact import MODEL_FILE, run_steps
from npuopt.target import load_target
from npuopt.verify.final import telling_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from npuopt.quantization.incoming.foreign_export import Format
    from npuopt.road.compilation import CompiledPlan
    from npuopt.target import Target

__all__ = [
    "CheckResult",
    "CompileOptions",
    "EvaluateOptions",
    "MemoryFigures",
    "Refused",
    "RegionFigures",
    "Wanted",
    "bisect",
    "check",
    "check_language_model",
    "check_targets",
    "compare",
    "compile",
    "compile_targets",
    "disagreements",
    "evaluate",
    "extract",
    "optimize",
    "optimize_profiles",
    "quantize",
    "run",
    "sensitivity",
]


def compile(  # noqa: A001 -- the command's name
    model: Path, target: str, out: Path, options: CompileOptions = DEFAULTS, *, say: Say = silent
) -> Manifest:
    """Compile an ONNX file for a target into the folder `out`, which appears whole or not at all.

    Raises:
        AccuracyError: when an output agrees less than `options.min_cosine` asks for.
        InputError, UsageError, PlacementError, ToolchainMissingError, VendorToolError: see their docstrings.
    """
    chip = load_target(target)
    find_delegate(chip.delegate.road).ensure_available()
    find_delegate(options.host).ensure_available()
    if options.language_model is not None:
        return compile_language_model(model, chip, out, options, say=say)
    if options.min_cosine and options.verify == "off":
        raise UsageError("--min-cosine needs a comparison, which --verify off leaves out")
    if options.form == "encodings":
        raise UsageError("form encodings leaves the model in float, which is not what compile is for")
    limits = Limits(seconds=options.time_limit)
    with atomic_folder(out) as folder:
        dumps = folder / "dumps" if options.dump else None
        source, prepared = open_prepared(model, chip, options, calibrated=_has_ranges(options), dumps=dumps, say=say)
        scheme = source.scheme
        halve = is_written_by_compile(chip, scheme)
        quantized = quantize_source(model, source, prepared, chip, options, halve=halve, say=say)
        plan = partition(prepared.model, chip, scheme)
        require_share(plan.summary.npu_fraction, options.min_npu, model, chip)
        say(f"compiling {len(plan.parts)} part(s)")
        sources = save_parts(prepared.model, plan, folder)
        compiled = compile_plan(plan, sources, chip, options.host, folder, limits)
        save(prepared.model, folder / MODEL_FILE)
        write_target(chip, folder)
        quantized.write(folder)
        stages = _verify(model, folder, prepared, quantized, compiled, chip, options, say=say)
        require_agreement(stages, options.min_cosine, model)
        manifest = records.manifest(
            Journey(model, chip, scheme, options, prepared, quantized, plan, compiled, stages), folder
        )
        manifest.write(folder)
    return manifest


def compile_targets(
    model: Path, targets: Sequence[str], out: Path, options: CompileOptions = DEFAULTS, *, say: Say = silent
) -> list[Manifest | Refused]:
    """Compile an ONNX file for several targets, each into the folder of `out` that its id names.

    Targets whose graphs come out equal are calibrated once. One that fails keeps no other from being compiled.

    Raises:
        NpuoptError: the first target's, when there is nothing to show for any of them.
    """
    chips = {name: load_target(name) for name in targets}

    with TemporaryDirectory(prefix="npuopt-calibration-") as states:
        shared = replace(options, calibration_state=options.calibration_state or Path(states))

        def one(name: str) -> Manifest:
            folder = out / chips[name].name  # a target's id leads to no other folder: the schema sees to it
            return compile(model, name, folder, shared, say=lambda text: say(f"{name}: {text}"))

        return for_each_target(targets, one)


def quantize(
    model: Path,
    target: str,
    output: Path,
    options: CompileOptions,
    *,
    save_encodings: Path | None = None,
    encodings_format: Format = "npuopt",
    save_precisions: Path | None = None,
    steps_report: bool = False,
    say: Say = silent,
) -> dict[str, Any]:
    """Quantize an ONNX file as a target wants it and write the quantized model, once it has run; return what was done.

    With `steps_report` it is also quantized without each of its steps in turn, to measure what each is worth.

    Raises:
        AccuracyError: when it computes NaN or infinity where the float model computes numbers.
        InputError, UsageError: see their docstrings.
    """
    chip = load_target(target)
    source, prepared = open_prepared(model, chip, options, calibrated=_has_ranges(options), say=say)
    scheme = source.scheme
    halve = require_change(chip, scheme, with_encodings=steps_report or bool(save_encodings or save_precisions))
    effects = measure_steps(prepared, chip, scheme, options, say=say) if steps_report else []
    quantized = quantize_source(model, source, prepared, chip, options, halve=halve, say=say)
    checked: Stage | None = None
    if options.verify != "off":
        say("verifying the quantized model")
        some = quantized.on_first(telling_samples(quantized.optimized))
        checked, _ = check_quantized(prepared.model, some)
    save(model_to_write(prepared, quantized, options.form), output)
    lost: list[str] = []
    if quantized.encodings is not None:
        text, lost = encodings_text(quantized.encodings, model, prepared, encodings_format)
        _write_text(save_encodings or encodings_beside(output, options.form), text)
        _write_text(save_precisions, precisions_text(quantized.encodings))
    measured = {"steps_report": [asdict(quality) for quality in effects], "not_in_source": lost}
    record = records.quantization(prepared, quantized, options, checked)
    record["advice"] = advice(checked, chip, scheme, chosen=records.is_chosen(options, quantized))
    return {"output": str(output), "scheme": scheme, **record, **measured}


def sensitivity(
    model: Path,
    target: str,
    options: CompileOptions,
    *,
    at_outputs: bool = False,
    samples: int = 16,
    say: Say = silent,
) -> dict[str, Any]:
    """Quantize an ONNX file in memory and measure what each layer's rounding costs; returns what `--json` prints.

    Args:
        model: the ONNX file.
        target: a target's id, or a descriptor file.
        options: as for `quantize`; calibration data is needed.
        at_outputs: also look at what each layer alone does at the outputs, and rank by that.
        samples: how many calibration samples are looked at.
        say: told what is being done.
    """
    chip = load_target(target)
    if options.calibration is None:
        raise UsageError("errors of layers are looked at on data", hint="give --calibration data")
    source, prepared = open_prepared(model, chip, options, calibrated=True, say=say)
    halve = is_written(chip, source.scheme)
    quantized = quantize_model(prepared, chip, source.scheme, options, keep_float=True, halve=halve, say=say)
    if quantized.before is None and quantized.halved is None:
        raise UsageError(f"scheme {source.scheme} of {chip.name} is not quantized")
    outputs = check_quantized(prepared.model, quantized)[0].model_dump(mode="json")["outputs"]
    if quantized.before is None:
        ranked = ranked_in_half(quantized.halved, at_outputs=at_outputs)
        return {"model": str(model), "target": chip.name, "scheme": source.scheme, "outputs": outputs, **ranked}
    ranked = rank_layers(quantized.before, options.calibration, samples, at_outputs=at_outputs, say=say)
    return {"model": str(model), "target": chip.name, "scheme": source.scheme, "outputs": outputs, **ranked}


def _verify(
    source: Path,
    folder: Path,
    prepared: Prepared,
    quantized: Quantized,
    compiled: CompiledPlan,
    chip: Target,
    options: CompileOptions,
    *,
    say: Say,
) -> list[Stage]:
    """Compare source, optimized, quantized and compiled on the same samples."""
    if options.verify == "off":
        return []
    samples = quantized.samples
    say("verifying: the source model")
    reference = reference_runs(source, prepared, samples)
    stages = [] if quantized.kept else [stage("optimized", "source", reference, quantized.optimized)]
    if quantized.encodings is None and quantized.halved is None:
        latest = model_runs(folder / MODEL_FILE, samples)
    else:
        _, latest = check_quantized(folder / MODEL_FILE, quantized)
        stages.append(stage("quantized", "source", reference, latest))
    if compiled.elsewhere:
        return [*stages, Stage(name="compiled", against=MODEL_FILE, samples=0, outputs={}, skipped=compiled.elsewhere)]
    say(f"verifying: the compiled parts, {min(len(samples), 1)} sample")
    few = samples[:1]
    made = run_steps(folder, compiled.steps, few, chip, Limits(seconds=options.time_limit))
    stages.append(stage("compiled", MODEL_FILE, latest[: len(few)], made))
    if options.verify == "each" and made:
        say("verifying: single layers of the compiled parts")
        stages += layer_stages(folder, compiled, few[0], made[0], chip, Limits(seconds=options.time_limit))
    return stages


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that is there whole or not at all."""
    try:
        with replacing(path) as file:
            write(file)
    except OSError as error:
        raise cannot_write(error, str(path)) from error


def _write_text(path: Path | None, text: str) -> None:
    if path is not None:
        _write(path, lambda file: file.write(text.encode()))


def _has_ranges(options: CompileOptions) -> bool:
    return options.calibration is not None or options.encodings is not None
