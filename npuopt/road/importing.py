"""The start of the road: a loaded model, and the encodings that it or a file brings along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from npuopt.errors import InputError, UsageError
from npuopt.graph import load, name_nodes, nodes, note_origins, qualified_op_type
from npuopt.pipeline.catalogue import find_pass, with_options
from npuopt.pipeline.recipes import CLEAN, UNQUANTIZE
from npuopt.pipeline.runner import Runner
from npuopt.quantization.incoming.foreign import named_in, read_foreign
from npuopt.quantization.incoming.keeping import fitting_scheme
from npuopt.road.optimizing import observers
from npuopt.road.preparation import AS_THEY_ARE, Prepared, choose_scheme, prepare

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.graph import Model
    from npuopt.quantization.incoming.quantized_model import Incoming
    from npuopt.road.options import CompileOptions, Say
    from npuopt.target import Target

QUANTIZES = ("QuantizeLinear", "QLinearConv", "QLinearMatMul", "com.microsoft::QuantizeLinear", "com.microsoft::QGemm")
"""Ops that only a model with quantized activations has."""


class _Finds(Protocol):
    """What the pass that drops QuantizeLinear has beyond other passes."""

    found: list[Incoming]


@dataclass
class Source:
    """A model at the start of its road.

    Attributes:
        model: as loaded, without QuantizeLinear and DequantizeLinear where their encodings are in `incoming`.
        scheme: what it is to be computed in.
        incoming: encodings that are kept, or None.
        unmatched: tensors that a file names and the model does not have.
    """

    model: Model
    scheme: str
    incoming: Incoming | None = None
    unmatched: tuple[str, ...] = ()


def open_source(
    path: Path, target: Target, options: CompileOptions, runner: Runner, *, calibrated: bool, say: Say
) -> Source:
    """Load a model, choose its scheme, and take the encodings out of it where it is quantized.

    Encodings in another tool's file are by the names of the model's tensors and become those of the source. A
    quantized model keeps its encodings, unless it is to be quantized anew; then they are dropped here.
    A model whose weights alone are quantized stays as it is.

    Args:
        path: the ONNX file.
        target: where it is to run.
        options: the precision, and what there is to quantize with.
        runner: runs the passes.
        calibrated: there is calibration data, or there are encodings.
        say: told what is being done.

    Raises:
        UsageError: when there is no scheme for it, or a quantized model meets options that would quantize it anew.
        InputError: when the file cannot be loaded, or its encodings are broken.
    """
    foreign = None if options.encodings is None else read_foreign(options.encodings)
    say(f"loading {path}")
    model = load(path)
    name_nodes(model)
    note_origins(model)
    integer = [name for name, scheme in target.schemes.items() if scheme.is_integer]
    wanted = options.precision
    if not integer or not _quantizes(model) or (wanted != "auto" and wanted not in integer):
        if options.requantize:
            raise UsageError("is not quantized, so there is nothing to --requantize", where=str(path))
        if foreign is not None and options.encodings is not None:
            incoming, unmatched = named_in(foreign, model, str(options.encodings))
            scheme = _kept_scheme(options.encodings, target, incoming, options)
            return Source(model, scheme, incoming, tuple(unmatched))
        return Source(model, choose_scheme(target, wanted, calibrated=calibrated))
    if not options.requantize and (options.calibration is not None or options.encodings is not None):
        given = "--calibration" if options.calibration is not None else "--encodings"
        raise UsageError(
            f"is quantized already, and keeps its encodings without {given}",
            where=str(path),
            hint="--requantize drops them and quantizes anew",
        )
    say("taking the encodings out of the model")
    incoming = _taken_out(model, runner)
    if options.requantize:
        if foreign is not None and options.encodings is not None:
            raise UsageError(
                "names the tensors of a float model, and the model's own encodings would have to go",
                where=str(options.encodings),
                hint="give it with the float model",
            )
        if not calibrated:
            raise UsageError("--requantize needs data to quantize with", hint="give --calibration data or --encodings")
        runner.run(model, [with_options(find_pass("insert-clips"), {"limits": incoming.limits})])
        return Source(model, choose_scheme(target, wanted, calibrated=calibrated))
    return Source(model, _kept_scheme(path, target, incoming, options), incoming)


def _quantizes(model: Model) -> bool:
    """Say whether the model has quantized activations."""
    return any(qualified_op_type(node) in QUANTIZES or node.op_type.startswith("QLinear") for node in nodes(model))


def _taken_out(model: Model, runner: Runner) -> Incoming:
    """Turn the model into the float model that it stands for, and return its encodings."""
    runner.run_until_stable(model, AS_THEY_ARE.make(CLEAN))
    target, runner.target = runner.target, None  # quantized operators are written out, whether it takes them or not
    try:
        runner.run(model, AS_THEY_ARE.make(UNQUANTIZE))
        drop = find_pass("drop-quantize-dequantize")()
        runner.run(model, [drop])
    finally:
        runner.target = target
    note_origins(model)
    return cast("_Finds", drop).found[-1]


def _kept_scheme(path: Path, target: Target, incoming: Incoming, options: CompileOptions) -> str:
    """Return the scheme that the model's own encodings fit."""
    fitting = fitting_scheme(target, incoming)
    if fitting is None:
        raise InputError(
            f"holds no encodings of activations that {target.name} could keep",
            where=str(path),
            hint="quantize with --calibration (and --requantize, where the model is quantized)",
        )
    if options.precision not in ("auto", fitting):
        raise UsageError(
            f"has its encodings, for which {target.name} has {fitting}, not {options.precision}",
            where=str(path),
            hint="--requantize with --calibration quantizes it anew",
        )
    if options.precisions or options.alike or options.max_drop is not None or options.budget is not None:
        raise UsageError(
            "is quantized already, and its encodings say how each node is computed",
            where=str(path),
            hint="leave out --keep, --precisions, --like, --max-drop and --budget",
        )
    return fitting


def open_prepared(
    path: Path, target: Target, options: CompileOptions, *, calibrated: bool, dumps: Path | None = None, say: Say
) -> tuple[Source, Prepared]:
    """Load a model as `open_source` does, and make it what `target` takes; `dumps` gets the graph after each pass."""
    runner = Runner(target, options.verify, observers(options.verify, options.dims, dumps))
    source = open_source(path, target, options, runner, calibrated=calibrated, say=say)
    files = options.pass_files
    return source, prepare(source.model, runner, options.dims, scheme=source.scheme, pass_files=files, say=say)
