"""`npuopt compile`: from an ONNX model to an artifact that the chip's own compiler made."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from npuopt.cli.compile_targets import print_artifacts
from npuopt.cli.language_model_options import ProfileOptions
from npuopt.cli.option_groups import takes_groups
from npuopt.cli.options import (
    DimOption,
    JsonOption,
    ModelArgument,
    PassFileOption,
    RequiredTargetsOption,
    Verify,
    VerifyOption,
    parse_dims,
)
from npuopt.cli.output import (
    comparison_table,
    console,
    print_calibration,
    print_facts,
    print_findings,
    print_json,
    print_search,
    print_warnings,
    progress,
    table,
)
from npuopt.cli.quantization_options import QuantizationOptions

SHOWN = 5
"""Outputs that a warning names; the table shows all."""

if TYPE_CHECKING:
    from rich.table import Table

    from npuopt.api import CompileOptions
    from npuopt.bundle import Manifest


@takes_groups
def compile_command(
    model: ModelArgument,
    target: RequiredTargetsOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="The artifact's folder.", metavar="OUT")],
    *,
    dim: DimOption = None,
    verify: VerifyOption = Verify.final,
    dump: Annotated[bool, typer.Option("--dump", help="Keep the graph after each pass in OUT/dumps.")] = False,
    host: Annotated[str, typer.Option("--host", help="What runs the host's part: ort or tvm.")] = "ort",
    min_npu: Annotated[
        float,
        typer.Option("--min-npu", min=0, max=1, help="Fail (exit 4) when a smaller fraction of nodes is on the NPU."),
    ] = 0.0,
    min_cosine: Annotated[
        float,
        typer.Option(
            "--min-cosine", min=0, max=1, help="Fail (exit 5) when an output agrees less with the source or model.onnx."
        ),
    ] = 0.0,
    time_limit: Annotated[
        float, typer.Option("--time-limit", min=0.1, help="Seconds for each vendor tool run.")
    ] = 900.0,
    pass_file: PassFileOption = None,
    quantization: QuantizationOptions,
    profiles: ProfileOptions,
    json: JsonOption = False,
) -> None:
    """Optimize, quantize and compile MODEL for a target into the folder OUT."""
    from npuopt import api

    options = replace(
        quantization.compile_options(),
        dims=parse_dims(dim),
        verify=verify.value,
        dump=dump,
        host=host,
        min_npu=min_npu,
        min_cosine=min_cosine,
        time_limit=time_limit,
        pass_files=tuple(pass_file or ()),
        language_model=profiles.language_model(),
    )
    if len(set(target)) > 1:
        _compile_several(model, list(dict.fromkeys(target)), output, options, json=json)
        return
    with progress() as say:
        manifest = api.compile(model, target[0], output, options, say=say)
    print_warnings(_warnings(manifest))
    if json:
        print_json(manifest.model_dump(mode="json"))
    else:
        print_manifest(manifest, output)


def _compile_several(model: Path, targets: list[str], output: Path, options: CompileOptions, *, json: bool) -> None:
    from npuopt import api

    with progress() as say:
        found = api.compile_targets(model, targets, output, options, say=say)
    refused = [item for item in found if isinstance(item, api.Refused)]
    made = [item for item in found if not isinstance(item, api.Refused)]
    print_warnings(dict.fromkeys(warning for item in made for warning in _warnings(item)))
    if json:
        documents = [
            item.to_json() if isinstance(item, api.Refused) else item.model_dump(mode="json") for item in found
        ]
        print_json({"model": str(model), "targets": documents})
    else:
        print_artifacts(found, output)
    if refused:
        raise refused[0].error


def _warnings(manifest: Manifest) -> list[str]:
    """List what is doubtful: of the calibration data, and outputs that agree badly."""
    from npuopt.api import disagreements

    found = disagreements(manifest.verification)
    more = [f"{len(found) - SHOWN} more outputs agree as badly"] if len(found) > SHOWN else []
    target = manifest.target["name"]
    return [
        *manifest.calibration.get("warnings", ()),
        *(f"{target}: {text}" for text in found[:SHOWN]),
        *(f"{target}: {text}" for text in (*more, *manifest.encodings.get("advice", ()))),
    ]


def print_manifest(manifest: Manifest, folder: Path) -> None:
    """Print what a person wants to know of a compile: changes, placement, accuracy, files."""
    out = console()
    if manifest.language_model is not None:
        print_facts(out, manifest.language_model.facts)
    out.print(_passes(manifest))
    for (reason, lowered_by, stays), count in _legalized(manifest).items():
        became = (
            f"lowered by {lowered_by}" if lowered_by else f"computed in {stays}" if stays == "float" else "on the host"
        )
        out.print(f"{count} x {reason}: {became}", markup=False)
    for name, size in manifest.recipe.get("assumed_dims", {}).items():
        out.print(f"{name} = {size}, as it was not given\n", markup=False)
    if manifest.dropped_inputs:
        out.print(f"Inputs that the freeze made empty, folded away: {', '.join(manifest.dropped_inputs)}\n")
    placement = manifest.placement
    out.print(
        f"Placement: {placement.npu} of {placement.nodes} nodes on the device ({placement.npu_fraction:.1%} of nodes,"
        f" {placement.npu_mac_fraction:.1%} of MACs), {placement.host} on the host;"
        f" {placement.edge} at the graph's edge"
    )
    for node in [node for node in manifest.nodes if node.placement == "host"][:20]:
        out.print(f"  host: {node.op_type} {node.name}: {'; '.join(node.reasons)}", markup=False)
    out.print(_steps(manifest))
    for stage in manifest.verification:
        if stage.skipped:
            out.print(f"{stage.name} not compared with {stage.against}: {stage.skipped}", markup=False)
            continue
        title = f"{stage.name} against {stage.against}, {stage.samples} samples"
        out.print(comparison_table(title, stage.model_dump(mode="json")["outputs"]))
    print_calibration(out, manifest.calibration)
    print_search(out, manifest.encodings.get("search") or {})
    print_findings(out, manifest.encodings.get("findings", ()))
    out.print(f"Artifact: {folder} ({sum(file.bytes for file in manifest.files.values()) / 1e6:.1f} MB)")


def _passes(manifest: Manifest) -> Table:
    """Sum up the rounds of each pass that changed something, in the order of their first change."""
    rows = table("Passes that changed the graph", "pass", "changed", "nodes", right=("changed", "nodes"))
    sums: dict[str, list[int]] = {}
    for record in manifest.passes:
        if record.changed:
            entry = sums.setdefault(record.name, [0, 0])
            entry[0] += record.changed
            entry[1] += record.nodes_after - record.nodes_before
    for name, (changed, difference) in sums.items():
        rows.add_row(name, str(changed), f"{difference:+d}" if difference else "")
    return rows


def _steps(manifest: Manifest) -> Table:
    """List what is run, of every profile where there are some."""
    steps = table("Steps", "step", "road", "files")
    for step in manifest.steps:
        steps.add_row(step.name, step.road, "\n".join(step.files or (step.model,)))
    for profile in manifest.language_model.parts if manifest.language_model is not None else ():
        for step in profile.steps:
            steps.add_row(f"{profile.name}/{step.name}", step.road, "\n".join(step.files or (step.model,)))
    return steps


def _legalized(manifest: Manifest) -> Counter[tuple[str, str, str]]:
    """Count what the target refused, by the first reason and what became of it."""
    return Counter(
        (f"{entry['op_type']} refused ({entry['reasons'][0]})", ", ".join(entry["lowered_by"]), entry["stays"])
        for entry in manifest.legalization
    )
