"""`npuopt toolchain list | install NAME | doctor [NAME] | remove NAME`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npuopt.cli.options import JsonOption
from npuopt.cli.output import console, print_json, progress, table
from npuopt.errors import ToolchainMissingError, UsageError, VendorToolError

if TYPE_CHECKING:
    from npuopt.delegates.doctor import Diagnosis
    from npuopt.toolchain import Definition

app = typer.Typer(help="The vendors' tools, each in an environment of its own.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(help="A toolchain, as `list` calls it.", show_default=False)]


@app.command("list")
def list_toolchains(*, json: JsonOption = False) -> None:
    """List every toolchain: its licence, its size, and whether it is installed."""
    from npuopt.toolchain import definitions
    from npuopt.toolchain.environment import installed
    from npuopt.toolchain.installing import versions_of

    rows: list[dict[str, Any]] = [
        {
            "name": definition.name,
            "title": definition.title,
            "licence": definition.licence,
            "proprietary": definition.proprietary,
            "state": "installed" if found else "outdated" if versions_of(definition.name) else "not installed",
            "versions": found.tools() if found else {},
            "python": definition.python,
            "mib": found.bytes >> 20 if found else definition.size_mib,
            "folder": str(found.folder) if found else "",
        }
        for definition, found in ((one, installed(one)) for one in definitions().values())
    ]
    if json:
        print_json(rows)
        return
    shown = table("", "toolchain", "tool", "licence", "MiB", "state", "version", right=("MiB",))
    for row in rows:
        versions = ", ".join(row["versions"].values())
        shown.add_row(row["name"], row["title"], row["licence"], str(row["mib"]), row["state"], versions)
    console().print(shown)


@app.command("install")
def install_toolchain(
    name: NameArgument,
    *,
    accept_licence: Annotated[
        str, typer.Option(help="The same name again: its licence is accepted.", metavar="NAME", show_default=False)
    ] = "",
    json: JsonOption = False,
) -> None:
    """Install a toolchain, from the pinned and hashed list that npuopt carries."""
    from npuopt.toolchain import find_definition
    from npuopt.toolchain.installing import install
    from npuopt.toolchain.licences import ensure_accepted

    if accept_licence and accept_licence != name:
        raise UsageError(f"--accept-licence {accept_licence} is not the toolchain {name}")
    definition = find_definition(name)
    ensure_accepted(definition, _show_and_accept if accept_licence else _show_and_ask)
    with progress() as show:
        made = install(definition, progress=show)
    if json:
        print_json({**made.record(), "python": made.python, "bytes": made.bytes})
        return
    versions = ", ".join(f"{package} {version}" for package, version in made.tools().items())
    console().print(f"{name}: {versions}, {made.bytes >> 20} MiB in {made.folder}", markup=False)


@app.command("doctor")
def examine_toolchains(
    name: Annotated[str | None, typer.Argument(help="One toolchain; default: every installed one.")] = None,
    *,
    json: JsonOption = False,
) -> None:
    """Let each installed toolchain compile one op, and say what is missing and which command mends it.

    Exits with 6 when a toolchain asked for by name is not installed, with 7 when one does not work.
    """
    from npuopt.delegates.doctor import examine
    from npuopt.toolchain import definitions, find_definition

    with progress() as show:
        diagnoses: list[Diagnosis] = []
        for definition in [find_definition(name)] if name else definitions().values():
            show(f"asking {definition.title}")
            diagnoses.append(examine(definition))
    if json:
        print_json([asdict(diagnosis) for diagnosis in diagnoses])
    else:
        shown = table(
            "", "toolchain", "state", "version", "licence", "MiB", "seconds", "mend", right=("MiB", "seconds")
        )
        for one in diagnoses:
            state = "works" if not one.fault else "broken" if one.installed else "not installed"
            figures = (str(one.bytes >> 20), f"{one.seconds:.1f}") if one.installed else ("", "")
            shown.add_row(one.name, state, one.version, one.licence, *figures, one.mend)
        console().print(shown)
    for one in diagnoses:
        if one.fault and one.installed:
            raise VendorToolError(one.fault, hint=one.mend)
        if one.fault and name:
            raise ToolchainMissingError(one.fault, hint=one.mend)


@app.command("remove")
def remove_toolchain(name: NameArgument) -> None:
    """Remove a toolchain in every version; its packages stay in uv's own cache until `uv cache clean`."""
    from npuopt.toolchain import find_definition
    from npuopt.toolchain.installing import remove

    freed = remove(find_definition(name).name)
    said = f"removed, {freed >> 20} MiB freed" if freed else "was not installed"
    console().print(f"{name}: {said}", markup=False)


def _show_and_accept(definition: Definition) -> bool:
    """Show the licence that --accept-licence accepts."""
    _show_notice(definition)
    return True


def _show_and_ask(definition: Definition) -> bool:
    """Show the licence and ask whoever sits at the terminal; where nobody does, nothing is accepted."""
    _show_notice(definition)
    return sys.stdin.isatty() and typer.confirm("Do you accept it?", err=True)


def _show_notice(definition: Definition) -> None:
    from npuopt.toolchain.licences import notice

    typer.echo(notice(definition), err=True)
