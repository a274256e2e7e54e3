"""`npuopt targets probe ID`: hold a descriptor against the vendor's own compiler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from npuopt.cli.options import JsonOption
from npuopt.cli.output import console, print_json, progress, table
from npuopt.errors import InputError, UsageError

if TYPE_CHECKING:
    from npuopt.target.probe import ProbeResult

SHOWN = 200
"""Disagreements that are printed; --json has them all."""

OpOption = Annotated[
    list[str] | None, typer.Option("--op", help="Ask about this op only; may be repeated.", metavar="OP")
]
SecondsOption = Annotated[
    float, typer.Option("--seconds", help="Time limit of each run of the vendor's tool, which answers 250 questions.")
]


def probe_target(
    target: Annotated[str, typer.Argument(help="A target's ID, or a descriptor file.", show_default=False)],
    *,
    op: OpOption = None,
    seconds: SecondsOption = 300.0,
    json: JsonOption = False,
) -> None:
    """Ask the chip's own compiler about one-op models, and say where the descriptor agrees with it.

    Exits with 0 when they agree on every point that the descriptor is not stricter about on purpose, else with 3.
    """
    from npuopt.delegates.contract import Limits, NotProbed, Prober
    from npuopt.delegates.registry import find_delegate
    from npuopt.target import load_target
    from npuopt.target.probe import probe

    loaded = load_target(target)
    delegate = find_delegate(loaded.delegate.road)
    if not isinstance(delegate, Prober):
        why = delegate.not_probed if isinstance(delegate, NotProbed) else "its delegate has no way to ask"
        raise UsageError(f"cannot be probed: {why}", where=loaded.name)
    delegate.ensure_available()
    prober = delegate
    with progress() as show:
        result = probe(
            loaded,
            lambda questions: prober.probe(
                questions,
                loaded,
                limits=Limits(seconds=seconds),
                progress=lambda done: show(f"asked {done} of {len(questions)} questions about {loaded.name}"),
            ),
            op or (),
            progress=lambda made: show(f"made {made} questions about {loaded.name}"),
        )
    if json:
        print_json(_document(loaded.name, result))
    else:
        _print(loaded.name, result)
    if result.disagreements:
        raise InputError(f"the descriptor disagrees on {len(result.disagreements)} point(s)", where=loaded.name)


def _document(name: str, result: ProbeResult) -> dict[str, Any]:
    points = [
        {
            "op": point.op,
            "scheme": point.scheme,
            "case": point.case,
            "outcome": point.outcome,
            "taken": point.taken,
            "descriptor": point.descriptor,
            "compiler": point.compiler,
            "error": point.error,
        }
        for point in result.points
    ]
    return {"target": name, "counts": result.counts, "points": points}


def _print(name: str, result: ProbeResult) -> None:
    out = console()
    if result.disagreements:
        rows = table("Disagreements", "outcome", "scheme", "case", "descriptor", "compiler")
        for point in result.disagreements[:SHOWN]:
            said = (point.descriptor or "taken", point.compiler or "taken")
            rows.add_row(point.outcome, point.scheme or "", point.case, *said)
        out.print(rows)
        if len(result.disagreements) > SHOWN:
            out.print(f"and {len(result.disagreements) - SHOWN} more, which --json prints", markup=False)
    summary = table(f"{name}: points asked", "scheme", "asked", *result.counts, right=("asked", *result.counts))
    for scheme, part in result.by_scheme().items():
        summary.add_row(scheme or "no float data", str(len(part.points)), *map(str, part.counts.values()))
    summary.add_row("all", str(len(result.points)), *map(str, result.counts.values()))
    out.print(summary)
