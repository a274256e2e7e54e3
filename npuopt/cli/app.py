"""The `npuopt` command: its subcommands, its error messages and its exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from npuopt import __version__
from npuopt.cli import check, compile, optimize, passes, quantize, run, targets  # noqa: A004 -- named after its command
from npuopt.errors import NpuoptError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it: 128 + SIGINT."""

app = typer.Typer(
    name="npuopt",
    help="Optimize, quantize and compile ONNX models for NPU targets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("compile")(compile.compile_command)
app.command("check")(check.check_command)
app.command("optimize")(optimize.optimize_command)
app.command("quantize")(quantize.quantize_command)
app.command("run")(run.run_command)
app.add_typer(targets.app, name="targets")
app.add_typer(passes.app, name="passes")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"npuopt {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Optimize, quantize and compile ONNX models for NPU targets."""
    del version


def main() -> None:
    """Run the command line; every failure is one sentence on stderr and the exit code of its kind."""
    debug = "--debug" in sys.argv or bool(os.environ.get("NPUOPT_DEBUG"))
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        app()
    except NpuoptError as error:
        _fail(error, str(error), error.exit_code, debug=debug)
    except KeyboardInterrupt as error:
        _fail(error, "interrupted; nothing was written", INTERRUPTED, debug=debug)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(error, f"{place}{error.strerror or error}", NpuoptError.exit_code, debug=debug)
    except Exception as error:  # noqa: BLE001 -- the last line of defence: no user ever sees a bare traceback
        sentence = f"internal error: {type(error).__name__}: {error}; run again with --debug and report it"
        _fail(error, sentence, NpuoptError.exit_code, debug=debug)


def _fail(error: BaseException, sentence: str, code: int, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    sys.stderr.write(f"npuopt: {sentence}\n")
    sys.exit(code)
