"""Options and arguments that several commands share, and how their texts are read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from npuopt.errors import UsageError

LARGEST_DIM = (1 << 31) - 1
"""Larger ones overflow in every runtime there is."""


class Verify(StrEnum):
    """When numbers are compared."""

    each = "each"
    final = "final"
    off = "off"


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
VerifyOption = Annotated[
    Verify, typer.Option("--verify", help="Compare numbers after each pass (and layer), at the end, or never.")
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
