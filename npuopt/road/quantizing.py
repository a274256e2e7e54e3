"""The quantized part of the road: ranges from data, encodings from ranges, Q/DQ from encodings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from npuopt.errors import AccuracyError, UsageError
from npuopt.pipeline.catalogue import find_pass, with_options
from npuopt.quantization import Encodings, calibrate
from npuopt.quantization.accuracy.findings import find_faults
from npuopt.quantization.assignment.alike import shared_encodings
from npuopt.quantization.assignment.precisions import node_precisions
from npuopt.quantization.calibration.methods import default_method
from npuopt.quantization.rounding.round_weights import RoundedLayer, with_corrections
from npuopt.quantization.samples.data import RANDOM, open_samples
from npuopt.quantization.steps import Held, StepRecord, Work
from npuopt.road.compilation import model_runs, stage
from npuopt.road.float_runs import float_runs, verification_samples
from npuopt.road.halving import halve_model, limit_masks
from npuopt.road.holding import hold_weights
from npuopt.road.mix_searching import search_mix
from npuopt.road.preparation import AS_THEY_ARE
from npuopt.road.searching import Search
from npuopt.road.sensing import Unquantized
from npuopt.road.stepping import decide, rewrite_float, rewrite_or_repeat, run_rewrites, steps_for
from npuopt.road.time_left import timed
from npuopt.verify.final import held_samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.bundle import Stage
    from npuopt.graph import Model
    from npuopt.quantization.accuracy.findings import Finding
    from npuopt.quantization.calibration.observation import DataReport
    from npuopt.quantization.incoming.keeping import Kept
    from npuopt.quantization.samples.data import Samples
    from npuopt.road.halving import Halved
    from npuopt.road.options import CompileOptions, Say
    from npuopt.road.preparation import Prepared
    from npuopt.road.stepping import Steps
    from npuopt.target import Target
    from npuopt.target.schema import Scheme

    Arrays = dict[str, np.ndarray]

RANDOM_WARNING = (
    "calibrated with random numbers: the ranges are those of noise, and steps that learn from data are left out; good"
    " for trying things out, never for a model that is to be used"
)

ENCODINGS_FILE = "encodings.json"


@dataclass
class Quantized:
    """What quantization did, and what the float model computed before it.

    Attributes:
        encodings: None where the scheme is a float one. Their corrections fit weights rounded to the nearest, so
            that the file means the same without the data.
        calibration_samples: how many samples the ranges come from; 0 when the encodings were given.
        data: what is to be said of the calibration data; None where nothing was calibrated.
        samples: those that every stage is compared on.
        optimized: the prepared float model's outputs on them; those of the source where its encodings are kept.
        findings: what is wrong with the encodings on these samples.
        kept: what became of the encodings that a quantized model came with.
        steps: the named steps that ran, and what they changed.
        before: the model ahead of its quantization, where that was asked for.
        search: what the search for precisions found, in figures; empty where there was none.
        halved: what became of a model in a float type of 16 bits.
    """

    encodings: Encodings | None = None
    calibration_samples: int = 0
    data: DataReport | None = None
    samples: list[Arrays] = field(default_factory=list["Arrays"])
    optimized: list[Arrays] = field(default_factory=list["Arrays"])
    findings: list[Finding] = field(default_factory=list["Finding"])
    kept: Kept | None = None
    steps: list[StepRecord] = field(default_factory=list[StepRecord])
    before: Unquantized | None = None
    search: dict[str, Any] = field(default_factory=dict[str, Any])
    halved: Halved | None = None

    def on_first(self, count: int) -> Quantized:
        """Return the same with only the first of the samples to compare on."""
        return replace(self, samples=self.samples[:count], optimized=self.optimized[:count])

    def write(self, folder: Path) -> None:
        """Write the encodings, if any, as `encodings.json`."""
        if self.encodings is not None:
            self.encodings.save(folder / ENCODINGS_FILE)

    def calibration_record(self, options: CompileOptions) -> dict[str, Any]:
        """Return what is on record of the calibration: its data and method, what they show, and what to beware of."""
        if self.data is None or self.encodings is None:
            return {}
        source = (
            options.calibration if isinstance(options.calibration, str | Path) else type(options.calibration).__name__
        )
        warnings = self.data.warnings()
        if source == RANDOM:
            warnings.insert(0, RANDOM_WARNING)
        return {
            "calibration": str(source),
            "method": self.encodings.calibration,
            **self.data.to_json(),
            "warnings": warnings,
        }


def quantize_model(
    prepared: Prepared,
    target: Target,
    scheme: str,
    options: CompileOptions,
    *,
    keep_float: bool = False,
    halve: bool = False,
    say: Say,
) -> Quantized:
    """Quantize the prepared model in place, when the scheme asks for it, and remember what it computed in float.

    `keep_float` keeps the model as it was just before, too; `halve` writes it in the scheme's float type of 16 bits.
    """
    _require_use_of_precisions(target, scheme, options, halve=halve)
    search = Search.wanted(target, scheme, options, say=say)
    steps = steps_for(options, target.scheme(scheme))
    quantized = Quantized()
    own = target.scheme(scheme)
    if halve or not own.is_float:
        limit_masks(prepared)
    if options.verify != "off" and (own.is_float or options.encodings is not None):
        say("running the optimized model")
        quantized.samples, quantized.optimized = float_runs(prepared, options)
    if own.is_weight_only:
        _hold_weights(prepared, target, scheme, options, steps, quantized, keep_float=keep_float, say=say)
    if halve:
        samples = quantized.samples or verification_samples(prepared, options)
        quantized.halved = halve_model(prepared, target, scheme, options, samples, say=say)
    if own.is_float:
        return quantized
    work = _work(prepared, target, scheme, options, say)
    if options.encodings is not None:
        encodings = Encodings.load(options.encodings)
        run_rewrites(prepared, encodings.rewrites)
        encodings.check(prepared.model)
        rounded = _rounded(work, encodings, steps, quantized)
    else:
        encodings, rounded = _calibrated(prepared, work, options, steps, quantized, search)
    quantized.encodings = encodings
    if options.verify != "off":
        say("looking for what the encodings clip")
        quantized.findings = find_faults(
            prepared.model, encodings, quantized.samples, seen=work.ranges.seen if work.ranges else None
        )
    say("inserting quantize and dequantize")
    _insert_integers(prepared, own, quantized, rounded, keep_float=keep_float)
    return quantized


def _hold_weights(
    prepared: Prepared,
    target: Target,
    scheme: str,
    options: CompileOptions,
    steps: Steps,
    quantized: Quantized,
    *,
    keep_float: bool,
    say: Say,
) -> None:
    """Hold weights in integers beside float activations."""
    before = prepared.model.clone() if keep_float else None
    work = _work(prepared, target, scheme, options, say)
    work.precisions = node_precisions(work.model, target, scheme, options.precisions, prepared.in_float)
    rewrites, quantized.steps = rewrite_or_repeat(prepared, work, options.encodings, steps.rewriting)
    held, learned = hold_weights(prepared, target, scheme, options, work.precisions, steps.deciding, say=say)
    quantized.steps += learned
    quantized.encodings = held.model_copy(update={"rewrites": rewrites})
    quantized.before = None if before is None else Unquantized(before, quantized.encodings, {})


def _insert_integers(
    prepared: Prepared, scheme: Scheme, quantized: Quantized, rounded: Mapping[str, RoundedLayer], *, keep_float: bool
) -> None:
    """Write the encodings into the model, with the weights as they were rounded."""
    integers = {layer.weight: layer.integers for layer in rounded.values()}
    corrected = with_corrections(cast("Encodings", quantized.encodings), rounded)
    if keep_float:
        quantized.before = Unquantized(prepared.model.clone(), corrected, integers)
    held = {"encodings": corrected, "integers": integers}
    insert = with_options(find_pass("insert-quantize-dequantize"), held)
    again = AS_THEY_ARE.make(("fold-common-subexpressions",)) if scheme.is_float8 else []
    # several products may read one operand, others its floats
    prepared.runner.run(prepared.model, [insert, find_pass("split-clips")(), *again])


def check_quantized(model: Model | Path, quantized: Quantized) -> tuple[Stage, list[Arrays]]:
    """Run the quantized model on the samples; return how it compares with the float model, and its outputs.

    Raises:
        AccuracyError: when it computes NaN or infinity where the float model computes numbers.
    """
    halved = quantized.halved
    made = model_runs(model if halved is None else halved.judged, quantized.samples)
    for expected, got in zip(quantized.optimized, made, strict=True):
        for name, array in got.items():
            if array.dtype.kind == "f" and not np.all(np.isfinite(array) | ~np.isfinite(expected[name])):
                raise AccuracyError("the quantized model computes NaN or infinity here", where=name)
    return stage("quantized", "optimized", quantized.optimized, made), made


def _require_use_of_precisions(target: Target, scheme: str, options: CompileOptions, *, halve: bool) -> None:
    """Check that precisions of single nodes, where any are given, would make a difference.

    Raises:
        UsageError: when nothing is quantized, activations are in some nodes only, or the encodings are given.
    """
    own = target.scheme(scheme)
    if options.precisions and own.is_float and not own.is_weight_only and not halve:
        raise UsageError(f"scheme {scheme} quantizes nothing, so no node can differ from it by --keep or --precisions")
    if own.is_weight_only:
        for _, other in options.precisions:
            if not target.scheme(other).is_float:
                raise UsageError(f"{other} quantizes activations, which {scheme} computes in float")
    if options.alike and (target.scheme(scheme).is_float or options.encodings is not None):
        raise UsageError("--like shares encodings that are chosen, and here none are")
    if options.precisions and options.encodings is not None:
        raise UsageError("encodings that are given say how each node is computed: leave out --keep and --precisions")


def _work(prepared: Prepared, target: Target, scheme: str, options: CompileOptions, say: Say) -> Work:
    """Return what the steps work on."""
    samples = None if options.calibration is None else open_samples(options.calibration, prepared.model)
    return Work(prepared.model, target, scheme, samples, say=timed(say))


def _calibrated(
    prepared: Prepared,
    work: Work,
    options: CompileOptions,
    steps: Steps,
    quantized: Quantized,
    search: Search | None,
) -> tuple[Encodings, Mapping[str, RoundedLayer]]:
    """Rewrite the model, calibrate it, and choose encodings and weights by the data, with a search for precisions."""
    samples = work.samples if work.samples is not None else open_samples(options.calibration, work.model)
    patterns = options.precisions
    work.precisions = node_precisions(work.model, work.target, work.scheme, patterns, prepared.in_float)
    work.alike = shared_encodings(work.model, options.alike)

    def run_float() -> None:
        quantized.samples, quantized.optimized = float_runs(prepared, options)

    is_verified = options.verify != "off"
    rewrites, quantized.steps = rewrite_float(prepared, work, steps.rewriting, ahead=run_float if is_verified else None)
    to_run = is_verified and not quantized.samples
    work.ranges = calibrate(
        work.model,
        samples,
        options.calibration_method or default_method(work.target, work.scheme),
        progress=work.progress("calibrating"),
        state=options.calibration_state,
        first=held_samples(work.model, options.samples) if to_run else 0,
    )
    if to_run and work.ranges.first:
        quantized.samples, quantized.optimized = map(list, zip(*work.ranges.first, strict=True))
    elif to_run:
        run_float()
    quantized.calibration_samples, quantized.data = work.ranges.samples, work.ranges.data

    def build(precisions: Mapping[str, str], data: Samples | None) -> tuple[Held, list[StepRecord]]:
        mixed = replace(work, precisions=precisions, samples=data)
        return decide(mixed, Held(mixed.encodings().model_copy(update={"corrections": {}})), steps.deciding)

    if search is None:
        held, records = build(work.precisions, work.samples)
    else:
        found = search_mix(work, build, search)
        held, records, quantized.search = found.held, found.steps, found.record
    quantized.steps += records
    return held.encodings.model_copy(update={"rewrites": tuple(rewrites)}), held.rounded


def _rounded(work: Work, encodings: Encodings, steps: Steps, quantized: Quantized) -> Mapping[str, RoundedLayer]:
    """Round weights for given encodings, when there is data to do it by."""
    if work.samples is None:
        return dict[str, RoundedLayer]()
    held, quantized.steps = decide(work, Held(encodings), steps.deciding)
    return held.rounded
