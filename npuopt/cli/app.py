"""The `npuopt` command: its subcommands, its error messages and its exit codes."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from npuopt import __version__
from npuopt.cli import (
    bisect,
    check,
    compare,
    compile,  # noqa: A004 -- named after its command
    evaluate,
    extract,
    generate,
    optimize,
    passes,
    quantize,
    run,
    sensitivity,
    targets,
    toolchain,
    tune,
)
from npuopt.errors import NpuoptError, UsageError

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes after Ctrl-C and after `kill`, as shells expect them: 128 + the signal's number."""

STOPPED = "interrupted; nothing was written"

RARELY = (100_000, 50, 100)
"""Garbage collection: a graph is many objects that live to the end, and looking through them costs a tenth of a run."""

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
app.command("sensitivity")(sensitivity.sensitivity_command)
app.command("tune")(tune.tune_command)
app.command("run")(run.run_command)
app.command("generate")(generate.generate_command)
app.command("evaluate")(evaluate.evaluate_command)
app.command("compare")(compare.compare_command)
app.command("bisect")(bisect.bisect_command)
app.command("extract")(extract.extract_command)
app.add_typer(targets.app, name="targets")
app.add_typer(passes.app, name="passes")
app.add_typer(toolchain.app, name="toolchain")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"npuopt {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (anywhere on the line).")
    ] = False,
) -> None:
    """Optimize, quantize and compile ONNX models for NPU targets."""
    del version, debug


class _Terminated(BaseException):
    """Somebody asked this process to end; raised so that unfinished files and child processes go with it."""


def _on_terminate(number: int, frame: object) -> NoReturn:
    del number, frame
    raise _Terminated


class _Interrupts:
    """Whether Ctrl-C came: an extension module that it meets as it loads raises an error of its own instead."""

    came = False


def _on_interrupt(number: int, frame: FrameType | None) -> NoReturn:
    _Interrupts.came = True
    signal.default_int_handler(number, frame)


def main() -> None:
    """Run the command line; every failure is one sentence on stderr and the exit code of its kind."""
    gc.set_threshold(*RARELY)
    atexit.register(gc.freeze)  # what is left ends with the process, and need not be looked through once more
    _Interrupts.came = False
    debug = "--debug" in sys.argv or bool(os.environ.get("NPUOPT_DEBUG"))
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_terminate)
        signal.signal(signal.SIGINT, _on_interrupt)
    try:
        sys.exit(_run(arguments))
    except NpuoptError as error:
        _fail(error, str(error), error.exit_code, debug=debug)
    except (KeyboardInterrupt, typer.Abort) as error:
        _fail(error, STOPPED, INTERRUPTED, debug=debug)
    except _Terminated as error:
        _fail(error, "terminated; nothing was written", TERMINATED, debug=debug)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(error, f"{place}{error.strerror or error}", NpuoptError.exit_code, debug=debug)
    except Exception as error:  # noqa: BLE001 -- the last line of defence: no user ever sees a bare traceback
        if _Interrupts.came:
            _fail(error, STOPPED, INTERRUPTED, debug=debug)
        describe = getattr(error, "format_message", None)
        if callable(describe):  # the option parser's own errors
            message = str(describe()).rstrip(".")
            if not message:  # the help that was printed says it all
                sys.exit(UsageError.exit_code)
            _fail(error, f"{message}; see npuopt --help", UsageError.exit_code, debug=debug)
        sentence = f"internal error: {type(error).__name__}: {error}; run again with --debug and report it"
        _fail(error, sentence, NpuoptError.exit_code, debug=debug)


def _run(arguments: list[str]) -> int:
    code = app(arguments, standalone_mode=False, prog_name="npuopt") or 0
    if code == INTERRUPTED:  # typer answers Ctrl-C with this, and without a word
        raise KeyboardInterrupt
    return code


def _fail(error: BaseException, sentence: str, code: int, *, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exception(error)
    sys.stderr.write(f"npuopt: {sentence}\n")
    sys.exit(code)
