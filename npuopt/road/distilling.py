"""The tuned road: a model is quantized and learns to agree with its float self, on data without labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from npuopt.errors import UsageError
from npuopt.graph import constant, save
from npuopt.pipeline.catalogue import find_pass, with_options
from npuopt.pipeline.checks import count_nodes
from npuopt.pipeline.recipes import BEFORE_CALIBRATION
from npuopt.pipeline.runner import Runner
from npuopt.quantization import calibrate
from npuopt.quantization.arithmetic import dequantize
from npuopt.quantization.assignment.bias import with_bias_scales
from npuopt.quantization.assignment.wishes import wishes_of
from npuopt.quantization.calibration.methods import default_method
from npuopt.quantization.encodings import per_tensor
from npuopt.quantization.rounding.round_weights import with_corrections
from npuopt.quantization.samples.data import open_samples
from npuopt.quantization.steps import Held, Work
from npuopt.quantization.steps.weights import RoundWeights
from npuopt.road.compilation import model_runs
from npuopt.road.float_runs import verification_samples
from npuopt.road.importing import open_source
from npuopt.road.options import silent
from npuopt.road.preparation import AS_THEY_ARE, prepare
from npuopt.road.quantizing import Quantized, check_quantized
from npuopt.road.time_left import timed
from npuopt.target import load_target

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.graph import Model
    from npuopt.quantization.encodings import Encoding, Encodings
    from npuopt.quantization.samples.data import Samples
    from npuopt.road.options import CompileOptions, Say
    from npuopt.road.preparation import Prepared
    from npuopt.target import Target
    from npuopt.tuning.distillation import Tuned
    from npuopt.tuning.options import TuningOptions

    Arrays = dict[str, np.ndarray]

MOST_SAMPLE_BYTES = 2 * 2**30
"""Samples are held in memory while the student sees them again and again."""


@dataclass(frozen=True)
class TunedFiles:
    """What `tune` writes.

    Attributes:
        quantized: the QDQ model.
        encodings: what was learned of scales, as JSON; None to leave it out.
        in_float: the tuned model before Q/DQ are inserted, which with the encodings compiles to the same; or None.
    """

    quantized: Path
    encodings: Path | None = None
    in_float: Path | None = None


def tune(
    model: Path,
    target: str,
    files: TunedFiles,
    options: CompileOptions,
    tuning: TuningOptions,
    *,
    teacher: Path | None = None,
    held_out: str | None = None,
    say: Say = silent,
) -> dict[str, Any]:
    """Quantize an ONNX file for a target, let it learn to agree with its float self, and write the QDQ model.

    Args:
        model: the float ONNX file.
        target: a target's id, or a descriptor file.
        files: where what is made goes.
        options: with calibration data, which is what is learned from.
        tuning: how to learn.
        teacher: whom to agree with, where that is not the model itself: the model before it was pruned.
        held_out: data to choose the best state by; a share of the calibration data when None.
        say: told what is being done.

    Returns:
        What `npuopt tune --json` prints.

    Raises:
        UsageError: when the scheme is a float one, the model is quantized already, or there is no data.
        AccuracyError: when the quantized model computes NaN or infinity where the float model computes numbers.
        ToolchainMissingError: when torch is not installed.
    """
    from npuopt.tuning.distillation import distil  # noqa: PLC0415 -- imports torch

    chip = load_target(target)
    prepared, scheme = _prepared(model, chip, options, say)
    whole = None if teacher is None else _prepared(teacher, chip, replace(options, precision=scheme), say)[0].model
    if options.calibration is None:
        raise UsageError("tuning learns from data", hint="give --calibration samples; they need no labels")
    quantized = Quantized(samples=verification_samples(prepared, options))
    quantized.optimized = model_runs(whole or prepared.model, quantized.samples)
    samples = _held(open_samples(options.calibration, prepared.model))
    unseen = None if held_out is None else _held(open_samples(held_out, prepared.model))
    encodings, start = _start(prepared.model, chip, scheme, options, say)
    fixed = _fixed(prepared.model, chip, scheme)
    tuned = distil(
        prepared.model, encodings, samples, tuning, held_out=unseen, teacher=whole, start=start, fixed=fixed, say=say
    )
    outputs = _write(prepared, tuned, quantized, files, say)
    return {
        "output": str(files.quantized),
        "scheme": scheme,
        "encodings": len(tuned.encodings.tensors),
        "nodes": count_nodes(prepared.model),
        "learned": len(tuned.weights),
        "losses": tuned.losses,
        "best": tuned.best,
        "samples": len(quantized.samples),
        "outputs": outputs,
    }


def _write(prepared: Prepared, tuned: Tuned, quantized: Quantized, files: TunedFiles, say: Say) -> dict[str, Any]:
    """Put what was learned into the model, check it, and write the files; return how its outputs compare."""
    prepared.runner.run(prepared.model, [with_options(find_pass("insert-weights"), {"weights": tuned.weights})])
    encodings = quantized.encodings = with_bias_scales(prepared.model, tuned.encodings)
    in_float = None if files.in_float is None else prepared.model.clone()
    say("inserting quantize and dequantize")
    insert = with_options(find_pass("insert-quantize-dequantize"), {"encodings": encodings})
    prepared.runner.run(prepared.model, [insert, find_pass("split-clips")()])
    say("verifying the quantized model")
    outputs = check_quantized(prepared.model, quantized)[0].model_dump(mode="json")["outputs"]
    save(prepared.model, files.quantized)
    if files.in_float is not None and in_float is not None:
        save(in_float, files.in_float)
    if files.encodings is not None:
        encodings.save(files.encodings)
    return outputs


def _prepared(path: Path, chip: Target, options: CompileOptions, say: Say) -> tuple[Prepared, str]:
    """Bring a float model to where it is quantized; return it and the scheme it is quantized in."""
    runner = Runner(chip, "off")
    source = open_source(path, chip, options, runner, calibrated=True, say=say)
    scheme = chip.scheme(source.scheme)
    if source.incoming is not None:
        raise UsageError("is quantized already", where=str(path), hint="tune the float model, or --requantize it")
    if not scheme.is_integer:
        raise UsageError(f"scheme {source.scheme} of {chip.name} holds no activations in integers: nothing is tuned")
    files = options.pass_files
    prepared = prepare(source.model, runner, options.dims, scheme=source.scheme, pass_files=files, say=say)
    runner.run(prepared.model, AS_THEY_ARE.make(BEFORE_CALIBRATION))
    return prepared, source.scheme


def _held(samples: Samples) -> list[Arrays]:
    """Read all samples into memory: the student sees them again and again.

    Raises:
        UsageError: when they take too much.
    """
    held: list[Arrays] = []
    taken = 0
    for sample in samples:
        held.append({name: array.copy() for name, array in sample.items()})
        taken += sum(array.nbytes for array in sample.values())
        if taken > MOST_SAMPLE_BYTES:
            raise UsageError("the samples take more than 2 GiB of memory", where=samples.name, hint="tune with fewer")
    return held


def _start(
    model: Model, target: Target, scheme: str, options: CompileOptions, say: Say
) -> tuple[Encodings, dict[str, np.ndarray]]:
    """Return what learning starts from: encodings, and in float weights rounded by data and biases corrected for it."""
    samples = open_samples(options.calibration, model)
    say("calibrating")
    ranges = calibrate(model, samples, options.calibration_method or default_method(target, scheme))
    work = Work(model, target, scheme, samples, ranges, say=timed(say))
    held = RoundWeights().apply(work, Held(work.encodings())).held
    arrays = {layer.weight: dequantize(layer.integers, layer.encoding) for layer in held.rounded.values()}
    corrections = with_corrections(held.encodings, held.rounded).corrections
    for node in model.graph:
        for index, correction in corrections.get(node.outputs[0].name or "", {}).items():
            bias = node.inputs[index]
            array = None if bias is None else constant(bias)
            if bias is not None and array is not None and len(bias.uses()) == 1:
                arrays[bias.name or ""] = (array + np.reshape(correction, array.shape)).astype(np.float32)
    return held.encodings.model_copy(update={"corrections": {}}), arrays


def _fixed(model: Model, target: Target, scheme: str) -> list[Encoding]:
    """Return the encodings that the target binds outputs to."""
    wishes = wishes_of(model, target, scheme).values()
    return [
        per_tensor(wish.activation, wish.output.scale, wish.output.zero_point)
        for wish in wishes
        if wish.output is not None
    ]
