"""`npuopt targets list | show ID | lint FILE | probe ID`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from npuopt.cli.options import JsonOption
from npuopt.cli.output import console, print_json, table
from npuopt.cli.targets_probe import probe_target
from npuopt.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(help="The chips that npuopt knows.", no_args_is_help=True)
TargetArgument = Annotated[str, typer.Argument(help="A target's ID, or a descriptor file.", show_default=False)]


@app.command("list")
def list_targets(*, json: JsonOption = False) -> None:
    """List every target with its road and what it computes in."""
    from npuopt.target import list_targets as names
    from npuopt.target import load_target

    found = [load_target(name) for name in names()]
    if json:
        print_json(
            [
                {"name": item.name, "title": item.title, "road": item.delegate.road, "schemes": list(item.schemes)}
                for item in found
            ]
        )
        return
    rows = table("", "target", "chip", "road", "schemes", "ops", right=("ops",))
    for item in found:
        rows.add_row(item.name, item.title, item.delegate.road, ", ".join(item.schemes), str(len(item.ops)))
    console().print(rows)


@app.command("show")
def show_target(target: TargetArgument, *, json: JsonOption = False) -> None:
    """Show everything that is known of a target: schemes, memory, and for each op when it is taken."""
    from npuopt.target import load_target
    from npuopt.target.describe import describe

    described = describe(load_target(target))
    if json:
        print_json(described)
        return
    out = console()
    out.print(f"{described['name']}: {described['title']}", style="bold", markup=False)
    for key, value in described.items():
        if key not in ("name", "title", "ops"):
            out.print(f"{key}: {_plain(value)}", markup=False)
    _print_ops(out, described["ops"])


@app.command("lint")
def lint_target(target: TargetArgument, *, json: JsonOption = False) -> None:
    """Check a descriptor: every problem at once, each with its place in the file."""
    from npuopt.pipeline.catalogue import catalogue
    from npuopt.target.lint import lint

    problems = [str(problem) for problem in lint(target, lowerings=set(catalogue()))]
    if json:
        print_json({"target": target, "problems": problems})
    else:
        sys.stdout.writelines(f"{problem}\n" for problem in problems)
    if problems:
        raise InputError(f"{len(problems)} problem(s)", where=target)
    if not json:
        console().print(f"{target}: no problems", markup=False)


app.command("probe")(probe_target)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in cast("dict[str, object]", value).items())
    if isinstance(value, list | tuple):
        return "; ".join(_plain(item) for item in cast("list[object]", value))
    return str(value)


def _print_ops(out: Console, ops: list[dict[str, Any]]) -> None:
    rows = table("Ops", "op", "schemes", "when")
    for rule in ops:
        if rule["taken"]:
            said = [
                *rule["conditions"],
                *(f"{place}: {', '.join(types)}" for place, types in rule["data_types"].items()),
            ]
            rows.add_row(rule["name"], ", ".join(rule["schemes"]), "; ".join(said))
        else:
            rows.add_row(rule["name"], "refused", rule["refused"])
    out.print(rows)
