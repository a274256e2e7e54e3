"""`npuopt passes list | show NAME`."""

from __future__ import annotations

from typing import Annotated

import typer

from npuopt.cli.options import JsonOption
from npuopt.cli.output import console, print_json, table

app = typer.Typer(help="The catalogue of passes.", no_args_is_help=True)


@app.command("list")
def list_passes(*, json: JsonOption = False) -> None:
    """List every pass with its one-sentence description."""
    from npuopt.pipeline.catalogue import catalogue, group_of, summary

    found = catalogue().values()
    if json:
        print_json([{"name": item.name, "group": group_of(item), "summary": summary(item)} for item in found])
        return
    rows = table("", "group", "pass", "what it does")
    for item in found:
        rows.add_row(group_of(item), item.name, summary(item))
    console().print(rows)


@app.command("show")
def show_pass(name: Annotated[str, typer.Argument(help="The pass's name.")], *, json: JsonOption = False) -> None:
    """Show what a pass does, what it leaves alone, its options and its facts."""
    from npuopt.pipeline.catalogue import describe, find_pass

    described = describe(find_pass(name))
    if json:
        print_json(described)
        return
    out = console()
    out.print(f"{described['name']}  ({described['group']})\n", style="bold", markup=False)
    out.print(described["documentation"] + "\n", markup=False)
    for key in ("needs", "gives", "breaks", "produces"):
        if described[key]:
            out.print(f"{key}: {', '.join(described[key])}")
    for option in described["options"]:
        out.print(f"option {option['name']}: {option['type']} = {option['default']}", markup=False)
