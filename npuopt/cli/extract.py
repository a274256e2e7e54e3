"""`npuopt extract`: a part of a model as a model of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from npuopt.cli.options import JsonOption, ModelArgument
from npuopt.cli.output import console, print_json


def extract_command(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The part, as a model.", metavar="SUB.onnx")],
    *,
    start: Annotated[
        list[str] | None,
        typer.Option("--from", help="A tensor that becomes an input (again for more).", metavar="TENSOR"),
    ] = None,
    end: Annotated[
        list[str] | None,
        typer.Option("--to", help="A tensor that becomes an output (again for more).", metavar="TENSOR"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Cut out of MODEL what computes the --to tensors from the --from tensors.

    Without --from it begins at the model's inputs, without --to it ends at its outputs.
    """
    from npuopt import api

    result = api.extract(model, output, starts=start or [], ends=end or [])
    if json:
        print_json(result)
        return
    out = console()
    out.print(f"{result['nodes']} nodes: {result['output']}", markup=False)
    for kind in ("inputs", "outputs"):
        for described in result[kind]:
            out.print(f"{kind[:-1]} {described}", markup=False)
