"""Options of the commands that quantize."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from npuopt.cli.options import PrecisionOption
from npuopt.errors import UsageError

if TYPE_CHECKING:
    from npuopt.quantization.calibration.methods import Method
    from npuopt.road.options import CompileOptions


class RoundingMethod(StrEnum):
    """How weights beside float activations get their scales."""

    nearest = "nearest"
    least_squares = "least-squares"
    half_quadratic = "half-quadratic"


class FormChoice(StrEnum):
    """The form in which a quantized model is written."""

    qdq = "qdq"
    nbits = "nbits"
    qoperator = "qoperator"
    dynamic = "dynamic"
    encodings = "encodings"


@dataclass(frozen=True, kw_only=True)
class SchemeOptions:
    """Which scheme each node is computed in, and from which data its scales come."""

    panel: ClassVar[str] = "Quantization"

    precision: PrecisionOption = "auto"
    precisions: Annotated[
        Path | None,
        typer.Option(
            "--precisions",
            help="Mixed precision: a YAML file of `pattern: scheme`; patterns are op types or names of nodes, with *.",
            metavar="FILE",
        ),
    ] = None
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", help="Compute these nodes in another scheme, e.g. Softmax=a16w8.", metavar="NAME=SCHEME"
        ),
    ] = None
    calibration: Annotated[
        str | None,
        typer.Option(
            "--calibration",
            help="Calibration data: a .npz, a folder of them, package.module:function, or random to try things out.",
            metavar="DATA",
        ),
    ] = None
    calibration_method: Annotated[
        str | None,
        typer.Option(
            "--calibration-method",
            help="How ranges are found: minmax (the default for 16 bits), moving-average, percentile, entropy, mse, or"
            " by-bits (the default for 8); options as in percentile{percentile=99.9}.",
            metavar="METHOD",
        ),
    ] = None
    encodings: Annotated[
        Path | None,
        typer.Option(
            "--encodings",
            help="Use these encodings (JSON: npuopt's, AIMET's or ONNX Runtime's tensor overrides) instead of"
            " calibrating; data beside npuopt's own still rounds weights.",
            metavar="FILE",
        ),
    ] = None

    def compile_options(self) -> CompileOptions:
        """Return what was asked for, as the road takes it.

        Raises:
            UsageError: when a text is not of its form.
            InputError: when the file of --precisions is bad.
        """
        from npuopt.road.options import CompileOptions

        return CompileOptions(
            precision=self.precision,
            precisions=parse_precisions(self.precisions, self.keep),
            calibration=self.calibration,
            calibration_method=parse_method(self.calibration_method),
            encodings=self.encodings,
        )


@dataclass(frozen=True, kw_only=True)
class QuantizationOptions(SchemeOptions):
    """All that can be asked of quantization."""

    like: Annotated[
        list[str] | None,
        typer.Option(
            "--like",
            help="Hold tensors as another model's encodings file does, so that one reads what the other wrote.",
            metavar="NAMES=FILE",
        ),
    ] = None
    max_drop: Annotated[
        str | None,
        typer.Option(
            "--max-drop",
            help="Mix schemes, as fast as this bound allows: sqnr=35, perplexity=1%, package.module:function=0.2.",
            metavar="METRIC=VALUE",
        ),
    ] = None
    held_out: Annotated[
        str | None,
        typer.Option(
            "--held-out", help="Measure --max-drop on these samples, which calibration does not see.", metavar="DATA"
        ),
    ] = None
    budget: Annotated[
        str | None,
        typer.Option("--budget", help="What a mix of schemes may cost: bytes=20M, latency=1.2.", metavar="bytes=N"),
    ] = None
    calibration_state: Annotated[
        Path | None,
        typer.Option(
            "--calibration-state",
            help="Keep what calibration finds in this file, and go on from there when it is there already; a folder"
            " keeps one for each model and method.",
            metavar="PATH",
        ),
    ] = None
    requantize: Annotated[
        bool,
        typer.Option(
            "--requantize", help="Drop the encodings of a model that is quantized already, and quantize anew."
        ),
    ] = False
    rounding: Annotated[
        RoundingMethod,
        typer.Option("--rounding", help="How weight-only schemes find scales: no calibration data is needed for any."),
    ] = RoundingMethod.least_squares
    form: Annotated[
        FormChoice,
        typer.Option(
            "--form",
            help="Write standard ops (qdq), MatMulNBits and GatherBlockQuantized (nbits), QLinearConv and the like"
            " (qoperator), products that quantize their data as they run (dynamic),"
            " or the float model with its encodings beside it (encodings).",
        ),
    ] = FormChoice.qdq
    step: Annotated[
        list[str] | None,
        typer.Option("--step", help="Run this quantization step too: name or name{option=value}.", metavar="NAME"),
    ] = None
    no_step: Annotated[
        list[str] | None, typer.Option("--no-step", help="Leave this quantization step out.", metavar="NAME")
    ] = None

    def compile_options(self) -> CompileOptions:
        """Return what was asked for, as the road takes it.

        Raises:
            UsageError: when a text is not of its form.
            InputError: when the file of --precisions is bad.
        """
        return replace(
            super().compile_options(),
            alike=parse_like(self.like),
            max_drop=self.max_drop,
            held_out=self.held_out,
            budget=self.budget,
            calibration_state=self.calibration_state,
            requantize=self.requantize,
            rounding=self.rounding.value,
            form=self.form.value,
            steps=tuple(self.step or ()),
            without_steps=tuple(self.no_step or ()),
        )


def parse_method(text: str | None) -> Method | None:
    """Read a calibration method: its name, or `name{option=value}`.

    Raises:
        UsageError: when there is no such method, or it has no such option.
    """
    if text is None:
        return None
    from npuopt.pipeline.option_text import parse_options
    from npuopt.quantization.calibration.methods import make_method

    name, brace, rest = text.partition("{")
    if brace and not rest.endswith("}"):
        raise UsageError(f"--calibration-method {text!r} does not close its brace", hint="add '}'")
    return make_method(name.strip(), parse_options(rest[:-1], text))


def parse_like(texts: list[str] | None) -> tuple[tuple[str, Path], ...]:
    """Read `NAMES=FILE` texts.

    Raises:
        UsageError: when one is of another form.
    """
    if not texts:
        return ()
    from npuopt.quantization.assignment.alike import parse_alike

    return parse_alike(texts)


def parse_precisions(file: Path | None, texts: list[str] | None) -> tuple[tuple[str, str], ...]:
    """Read a file of patterns, and `NAME=SCHEME` texts that win over it.

    Raises:
        InputError: when the file is bad.
        UsageError: when a text is not of that form.
    """
    patterns: list[tuple[str, str]] = []
    if file is not None:
        from npuopt.quantization.assignment.precisions import read_precisions

        patterns += read_precisions(file)
    for text in texts or []:
        name, equals, scheme = text.rpartition("=")
        if not equals or not name or not scheme:
            raise UsageError(f"--keep {text!r} is not NAME=SCHEME", hint="for example Softmax=a16w8")
        patterns.append((name, scheme))
    return tuple(patterns)
