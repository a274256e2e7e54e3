"""Options and arguments that several commands share, and how their texts are read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from npuopt.errors import UsageError

if TYPE_CHECKING:
    from npuopt.quantization.calibration.methods import Method

LARGEST_DIM = (1 << 31) - 1
"""Larger ones overflow in every runtime there is."""


class Verify(StrEnum):
    """When numbers are compared."""

    each = "each"
    final = "final"
    off = "off"


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


ModelArgument = Annotated[Path, typer.Argument(help="The ONNX model.", show_default=False)]
TargetOption = Annotated[
    str, typer.Option("--target", "-t", help="A target's ID, or a descriptor file.", metavar="ID", show_default=False)
]
TargetsOption = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", help="A target's ID, or a descriptor file; may be given again.", metavar="ID"),
]
RequiredTargetsOption = Annotated[
    list[str],
    typer.Option(
        "--target",
        "-t",
        help="A target's ID, or a descriptor file. Given again, each has its folder in OUT.",
        metavar="ID",
        show_default=False,
    ),
]
OptionalTargetOption = Annotated[
    str | None, typer.Option("--target", "-t", help="A target's ID, or a descriptor file.", metavar="ID")
]
DimOption = Annotated[
    list[str] | None, typer.Option("--dim", help="Freeze a named dim, e.g. --dim batch=1.", metavar="NAME=N")
]
PrecisionOption = Annotated[
    str, typer.Option("--precision", help="A scheme of the target (a8w8, a16w8, fp16, ...), or auto.", metavar="SCHEME")
]
PrecisionsOption = Annotated[
    Path | None,
    typer.Option(
        "--precisions",
        help="Mixed precision: a YAML file of `pattern: scheme`; patterns are op types or names of nodes, with *.",
        metavar="FILE",
    ),
]
KeepOption = Annotated[
    list[str] | None,
    typer.Option("--keep", help="Compute these nodes in another scheme, e.g. Softmax=a16w8.", metavar="NAME=SCHEME"),
]
LikeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--like",
        help="Hold tensors as another model's encodings file does, so that one reads what the other wrote.",
        metavar="NAMES=FILE",
    ),
]
MaxDropOption = Annotated[
    str | None,
    typer.Option(
        "--max-drop",
        help="Mix schemes, as fast as this bound allows: sqnr=35, perplexity=1%, package.module:function=0.2.",
        metavar="METRIC=VALUE",
    ),
]
BudgetOption = Annotated[
    str | None,
    typer.Option("--budget", help="What a mix of schemes may cost: bytes=20M, latency=1.2.", metavar="bytes=N"),
]
CalibrationOption = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        help="Calibration data: a .npz, a folder of them, package.module:function, or random to try things out.",
        metavar="DATA",
    ),
]
CalibrationMethodOption = Annotated[
    str | None,
    typer.Option(
        "--calibration-method",
        help="How ranges are found: minmax (the default for 16 bits), moving-average, percentile, entropy, mse, or"
        " by-bits (the default for 8); options as in percentile{percentile=99.9}.",
        metavar="METHOD",
    ),
]
CalibrationStateOption = Annotated[
    Path | None,
    typer.Option(
        "--calibration-state",
        help="Keep what calibration finds in this file, and go on from there when it is there already; a folder keeps"
        " one for each model and method.",
        metavar="PATH",
    ),
]
EncodingsOption = Annotated[
    Path | None,
    typer.Option(
        "--encodings",
        help="Use these encodings (JSON: npuopt's, AIMET's or ONNX Runtime's tensor overrides) instead of calibrating;"
        " data beside npuopt's own still rounds weights.",
        metavar="FILE",
    ),
]
RequantizeOption = Annotated[
    bool,
    typer.Option("--requantize", help="Drop the encodings of a model that is quantized already, and quantize anew."),
]
StepOption = Annotated[
    list[str] | None,
    typer.Option(
        "--step",
        help="Run this quantization step too: name or name{option=value}.",
        metavar="NAME",
    ),
]
NoStepOption = Annotated[
    list[str] | None, typer.Option("--no-step", help="Leave this quantization step out.", metavar="NAME")
]
VerifyOption = Annotated[
    Verify, typer.Option("--verify", help="Compare numbers after each pass, at the end, or never.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
PassFileOption = Annotated[
    list[Path] | None, typer.Option("--pass-file", help="A Python file with passes of your own.", metavar="FILE")
]

PassOption = Annotated[
    list[str] | None,
    typer.Option("--pass", help="Run only these passes: name or name{option=value}.", metavar="NAME"),
]
RecipeOption = Annotated[
    Path | None, typer.Option("--recipe", help="A YAML file that pins passes and options.", metavar="FILE")
]

SamplesOption = Annotated[
    Path | None,
    typer.Option(
        "--inputs", "-i", help="A .npz whose leading axes count samples; seeded numbers without it.", metavar="NPZ"
    ),
]
ToleranceOption = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        min=0,
        help="Allowed difference relative to an output's largest value (float32: 1e-4).",
        show_default=False,
    ),
]


def parse_dims(texts: list[str] | None, of: str = "--dim") -> dict[str, int]:
    """Read `NAME=N` texts.

    Raises:
        UsageError: when one is not of that form, not a whole number >= 0, or given twice with different values.
    """
    dims: dict[str, int] = {}
    for text in texts or []:
        name, equals, number = text.partition("=")
        if not equals or not name or not number.isdecimal():
            raise UsageError(f"{of} {text!r} is not NAME=N with a whole number N", hint="for example batch=1")
        if int(number) > LARGEST_DIM:
            raise UsageError(f"{of} {text!r} is larger than any tensor's dim ({LARGEST_DIM})")
        if dims.setdefault(name, int(number)) != int(number):
            raise UsageError(f"{of} {name} is given twice, as {dims[name]} and as {number}")
    return dims


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


def parse_profiles(texts: list[str]) -> dict[str, dict[str, int]]:
    """Read `NAME:DIM=N,DIM=N` texts.

    Raises:
        UsageError: when one is not of that form, or a name is given twice.
    """
    profiles: dict[str, dict[str, int]] = {}
    for text in texts:
        name, colon, sizes = text.partition(":")
        if not colon or not name or not sizes:
            raise UsageError(f"--profile {text!r} is not NAME:DIM=N,DIM=N", hint="for example decode:seq=1,past=127")
        if name in profiles:
            raise UsageError(f"--profile {name} is given twice")
        profiles[name] = parse_dims(sizes.split(","), of="--profile")
    return profiles


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


RoundingOption = Annotated[
    RoundingMethod,
    typer.Option("--rounding", help="How weight-only schemes find scales: no calibration data is needed for any."),
]
FormOption = Annotated[
    FormChoice,
    typer.Option(
        "--form",
        help="Write standard ops (qdq), MatMulNBits and GatherBlockQuantized (nbits), QLinearConv and the like"
        " (qoperator), products that quantize their data as they run (dynamic),"
        " or the float model with its encodings beside it (encodings).",
    ),
]
