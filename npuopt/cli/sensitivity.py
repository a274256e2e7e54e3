"""`npuopt sensitivity`: which layers of a quantized model cost the most accuracy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npuopt.cli.option_groups import takes_groups
from npuopt.cli.options import DimOption, JsonOption, ModelArgument, PassFileOption, TargetOption, parse_dims
from npuopt.cli.output import comparison_table, console, print_halved, print_json, progress, table
from npuopt.cli.quantization_options import SchemeOptions

if TYPE_CHECKING:
    from rich.table import Table


@takes_groups
def sensitivity_command(
    model: ModelArgument,
    target: TargetOption,
    *,
    dim: DimOption = None,
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="How many samples of the calibration data to look at.")
    ] = 16,
    at_outputs: Annotated[
        bool,
        typer.Option(
            "--at-outputs", help="Also what each layer alone does at the outputs (the model runs for each layer)."
        ),
    ] = False,
    top: Annotated[int, typer.Option("--top", min=1, help="How many layers to print.")] = 20,
    pass_file: PassFileOption = None,
    scheme: SchemeOptions,
    json: JsonOption = False,
) -> None:
    """Rank the layers of MODEL by what quantizing them costs."""
    from npuopt import api

    options = replace(scheme.compile_options(), dims=parse_dims(dim), pass_files=tuple(pass_file or ()))
    with progress() as say:
        result = api.sensitivity(model, target, options, at_outputs=at_outputs, samples=samples, say=say)
    if json:
        print_json(result)
        return
    out = console()
    out.print(comparison_table(f"Quantized in {result['scheme']} against float", result["outputs"]))
    print_halved(out, result.get("halved"))
    out.print(_layers(result["layers"], result["samples"], top))


def _layers(layers: list[dict[str, Any]], samples: int, top: int) -> Table:
    """Return the most harmful layers; ratios of signal to noise in dB, the layer's own on float inputs."""
    figures = ("own dB", "up to it dB", "at outputs dB", "clipped")
    rows = table(f"Layers by their error, {samples} samples", "layer", "op", "scheme", *figures, right=figures)
    for layer in layers[:top]:
        at_outputs = [ratio for ratio in layer["output_sqnr_db"].values() if ratio is not None]
        clipped = layer["saturated"]
        rows.add_row(
            layer["name"],
            layer["op_type"] or "(input)",
            layer["scheme"],
            _ratio(layer["own_sqnr_db"]),
            _ratio(layer["accumulated_sqnr_db"]),
            _ratio(min(at_outputs, default=None)),
            "" if not clipped else f"{clipped:.2%}",
        )
    if len(layers) > top:
        rows.add_row(f"({len(layers) - top} more with --top or --json)")
    return rows


def _ratio(decibels: float | None) -> str:
    return "" if decibels is None else f"{decibels:.1f}"
