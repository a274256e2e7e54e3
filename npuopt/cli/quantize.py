"""`npuopt quantize`: a quantized ONNX model for a target, without compiling it."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from npuopt.cli.option_groups import takes_groups
from npuopt.cli.options import (
    DimOption,
    JsonOption,
    ModelArgument,
    PassFileOption,
    TargetOption,
    Verify,
    VerifyOption,
    parse_dims,
)
from npuopt.cli.output import (
    comparison_table,
    console,
    halved_warnings,
    print_calibration,
    print_findings,
    print_halved,
    print_json,
    print_kept,
    print_search,
    print_steps,
    print_warnings,
    progress,
)
from npuopt.cli.quantization_options import QuantizationOptions


class EncodingsFormat(StrEnum):
    """Whose encodings file it is; aimet is version 1.0.0, ort its TensorQuantOverrides as JSON."""

    npuopt = "npuopt"
    aimet = "aimet"
    aimet_old = "aimet-0.6.1"
    ort = "ort"


@takes_groups
def quantize_command(
    model: ModelArgument,
    target: TargetOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="The quantized model.", metavar="OUT.onnx")],
    *,
    dim: DimOption = None,
    save_encodings: Annotated[
        Path | None, typer.Option("--save-encodings", help="Write the encodings as JSON.", metavar="FILE")
    ] = None,
    encodings_format: Annotated[
        EncodingsFormat, typer.Option("--encodings-format", help="What --save-encodings writes: for which tool.")
    ] = EncodingsFormat.npuopt,
    save_precisions: Annotated[
        Path | None,
        typer.Option("--save-precisions", help="Write which nodes differ, for --precisions.", metavar="FILE"),
    ] = None,
    steps_report: Annotated[
        bool, typer.Option("--steps-report", help="Also quantize without each step, to measure what it is worth.")
    ] = False,
    verify: VerifyOption = Verify.final,
    pass_file: PassFileOption = None,
    quantization: QuantizationOptions,
    json: JsonOption = False,
) -> None:
    """Quantize MODEL as the target wants it and write the quantized model."""
    from npuopt import api

    options = replace(
        quantization.compile_options(),
        dims=parse_dims(dim),
        verify=verify.value,
        pass_files=tuple(pass_file or ()),
    )
    with progress() as say:
        result = api.quantize(
            model,
            target,
            output,
            options,
            save_encodings=save_encodings,
            encodings_format=encodings_format.value,
            save_precisions=save_precisions,
            steps_report=steps_report,
            say=say,
        )
    print_warnings((*result["calibration"].get("warnings", ()), *halved_warnings(result["halved"]), *result["advice"]))
    if json:
        print_json(result)
    else:
        _print(result, save_encodings)


def _print(result: dict[str, Any], save_encodings: Path | None) -> None:
    """Print what was made, how close it is, and what each step did."""
    out = console()
    out.print(
        f"{result['output']}: scheme {result['scheme']}, {result['encodings']} encodings, {result['nodes']} nodes",
        markup=False,
    )
    if result["outputs"]:
        against = "the source" if result["kept"] else "float"
        out.print(comparison_table(f"Against {against}, {result['samples']} samples", result["outputs"]))
    print_halved(out, result["halved"])
    print_steps(out, result["steps"], result["steps_report"])
    print_calibration(out, result["calibration"])
    print_search(out, result["search"])
    print_findings(out, result["findings"])
    if lost := result["not_in_source"]:
        out.print(f"{len(lost)} tensors are not in {save_encodings}, as the source does not have them: {lost[0]}, ...")
    if result["kept"]:
        print_kept(out, result["kept"])
