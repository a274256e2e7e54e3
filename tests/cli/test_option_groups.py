"""A command takes a dataclass of options, and the command line has an option for each field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from npuopt.cli.option_groups import takes_groups


@dataclass(frozen=True, kw_only=True)
class Paint:
    """Options of what is painted."""

    panel: ClassVar[str] = "Paint"

    colour: Annotated[str, typer.Option("--colour", help="Which.")] = "red"
    coats: Annotated[int, typer.Option("--coats", min=1)] = 1


@dataclass(frozen=True, kw_only=True)
class Varnish(Paint):
    """Options of what is varnished too."""

    gloss: Annotated[list[str] | None, typer.Option("--gloss")] = None


def make_app() -> tuple[typer.Typer, list[tuple[str, Varnish, bool]]]:
    seen: list[tuple[str, Varnish, bool]] = []

    @takes_groups
    def command(name: str, *, varnish: Varnish, dry: Annotated[bool, typer.Option("--dry")] = False) -> None:
        """Paint NAME."""
        seen.append((name, varnish, dry))

    app = typer.Typer()
    app.command()(command)
    return app, seen


def test_fields_are_options_and_arrive_as_the_group() -> None:
    app, seen = make_app()
    result = CliRunner().invoke(app, ["door", "--coats", "2", "--gloss", "silk", "--gloss", "matt", "--dry"])
    assert result.exit_code == 0, result.output
    assert seen == [("door", Varnish(colour="red", coats=2, gloss=["silk", "matt"]), True)]


def test_options_that_are_not_given_have_the_fields_defaults() -> None:
    app, seen = make_app()
    assert CliRunner().invoke(app, ["door"]).exit_code == 0
    assert seen == [("door", Varnish(), False)]


def test_bounds_of_a_field_hold() -> None:
    app, seen = make_app()
    assert CliRunner().invoke(app, ["door", "--coats", "0"]).exit_code == 2
    assert seen == []


def test_help_lists_a_group_under_its_heading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    app, _ = make_app()
    text = CliRunner().invoke(app, ["--help"]).output
    heading, rest = text[text.index("Paint ─") :].split("\n", 1)
    assert "--dry" in text[: text.index(heading)]
    assert all(option in rest for option in ("--colour", "--coats", "--gloss"))
    assert "Paint NAME." in text
