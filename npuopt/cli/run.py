"""`npuopt run`: run an artifact on inputs from a file."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from npuopt.cli.options import JsonOption
from npuopt.cli.output import console, print_json, progress, table

if TYPE_CHECKING:
    from npuopt.runtime import Fallback


class Engine(StrEnum):
    """What runs the artifact."""

    device = "device"
    cpu = "cpu"


class OnFailure(StrEnum):
    """What happens where a compiled part does not load or run."""

    stop = "stop"
    cpu = "cpu"


FailureOption = Annotated[
    OnFailure,
    typer.Option("--on-failure", help="Of a compiled part: stop, or run it on the CPU from then on and say so."),
]


def report_fallback(fallback: Fallback) -> None:
    """Say on stderr that a compiled part runs on the CPU."""
    sys.stderr.write(f"warning: {fallback.step} failed on {fallback.road} and runs on the CPU: {fallback.reason}\n")


def run_command(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.", show_default=False)],
    inputs: Annotated[
        Path, typer.Option("--inputs", "-i", help="A .npz; each array's leading axis counts samples.", metavar="NPZ")
    ],
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Save the outputs here.", metavar="NPZ")] = None,
    engine: Annotated[
        Engine,
        typer.Option("--engine", help="device: the compiled parts (a vendor's simulator here); cpu: model.onnx."),
    ] = Engine.device,
    on_failure: FailureOption = OnFailure.stop,
    time_limit: Annotated[
        float, typer.Option("--time-limit", min=0.1, help="Seconds for each vendor tool run.")
    ] = 900.0,
    json: JsonOption = False,
) -> None:
    """Run ARTIFACT on every sample of a .npz file and print what came out."""
    from npuopt import api

    with progress() as say:
        result = api.run(
            artifact,
            inputs,
            output=output,
            engine=engine.value,
            on_failure=on_failure.value,
            told=report_fallback,
            time_limit=time_limit,
            say=say,
        )
    if json:
        print_json(result)
        return
    out = console()
    rows = table("", "output", "shape", "type", "min", "max", "mean", right=("min", "max", "mean"))
    for item in result["outputs"]:
        rows.add_row(
            item["name"],
            "x".join("?" if size is None else str(size) for size in item["shape"]),
            item["dtype"],
            *("" if item[key] is None else f"{item[key]:.5g}" for key in ("min", "max", "mean")),
        )
    out.print(f"{result['samples']} sample(s) on {result['engine']} in {result['seconds']:.2f} s", markup=False)
    out.print(rows)
    if output:
        out.print(f"Outputs saved to {output}", markup=False)
