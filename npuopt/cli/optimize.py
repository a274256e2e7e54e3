"""`npuopt optimize`: graph passes only, no quantization."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from npuopt.cli.options import (
    DimOption,
    JsonOption,
    ModelArgument,
    OptionalTargetOption,
    PassFileOption,
    PassOption,
    RecipeOption,
    Verify,
    VerifyOption,
    parse_dims,
    parse_profiles,
)
from npuopt.cli.output import console, print_json, progress, table


def optimize_command(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The optimized model.", metavar="OUT")],
    *,
    target: OptionalTargetOption = None,
    passes: PassOption = None,
    recipe: RecipeOption = None,
    dim: DimOption = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            help="Make one model for each of these (again for more), sharing their weights, in a folder OUT.",
            metavar="NAME:DIM=N,...",
        ),
    ] = None,
    verify: VerifyOption = Verify.final,
    dump: Annotated[
        Path | None, typer.Option("--dump", help="Write the graph after each pass here.", metavar="DIR")
    ] = None,
    pass_file: PassFileOption = None,
    json: JsonOption = False,
) -> None:
    """Clean, freeze and fuse MODEL; with a target, also lower what that target lacks."""
    from npuopt.road import optimizing

    with progress() as say:
        wanted = optimizing.Wanted(target, passes, recipe, parse_dims(dim), tuple(pass_file or ()))
        how: dict[str, Any] = {"wanted": wanted, "verify": verify.value, "dump": dump, "say": say}
        if profile:
            result = optimizing.optimize_profiles(model, output, parse_profiles(profile), **how)
        else:
            result = optimizing.optimize(model, output, **how)
    if json:
        print_json(result)
        return
    for name, record in result.get("profiles", {"": result}).items():
        _print(name, record)
    if profile:
        console().print(f"{len(profile)} models and their weights: {result['output']}", markup=False)


def _print(profile: str, record: dict[str, Any]) -> None:
    rows = table(profile, "pass", "changed", "declined", "seconds", right=("changed", "declined", "seconds"))
    for item in record["passes"]:
        if item["changed"] or item["declined"]:
            rows.add_row(item["name"], str(item["changed"]), str(item["declined"]), f"{item['seconds']:.2f}")
    out = console()
    out.print(rows)
    for note in record["notes"]:
        out.print(f"note: {note}", markup=False)
    made = record.get("output", record.get("file"))
    out.print(f"{record['nodes_before']} -> {record['nodes_after']} nodes: {made}", markup=False)
