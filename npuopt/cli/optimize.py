"""`npuopt optimize`: graph passes only, no quantization."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
)
from npuopt.cli.output import console, print_json, progress, table


def optimize_command(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The optimized model.", metavar="OUT.onnx")],
    *,
    target: OptionalTargetOption = None,
    passes: PassOption = None,
    recipe: RecipeOption = None,
    dim: DimOption = None,
    verify: VerifyOption = Verify.final,
    dump: Annotated[
        Path | None, typer.Option("--dump", help="Write the graph after each pass here.", metavar="DIR")
    ] = None,
    pass_file: PassFileOption = None,
    json: JsonOption = False,
) -> None:
    """Clean, freeze and fuse MODEL; with a target, also lower what that target lacks."""
    from npuopt import api

    with progress() as say:
        wanted = api.Wanted(target, passes, recipe, parse_dims(dim), tuple(pass_file or ()))
        result = api.optimize(model, output, wanted=wanted, verify=verify.value, dump=dump, say=say)
    if json:
        print_json(result)
        return
    rows = table("", "pass", "changed", "declined", "seconds", right=("changed", "declined", "seconds"))
    for record in result["passes"]:
        if record["changed"] or record["declined"]:
            rows.add_row(record["name"], str(record["changed"]), str(record["declined"]), f"{record['seconds']:.2f}")
    out = console()
    out.print(rows)
    out.print(f"{result['nodes_before']} -> {result['nodes_after']} nodes: {result['output']}", markup=False)
