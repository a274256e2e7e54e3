"""What commands print: tables for people on stdout, one JSON document when asked, progress on stderr."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table


FILE_WIDTH = 200
"""Columns of a table that goes to a file or another program, where nothing has to be folded."""


def console() -> Console:
    """Return the console that results go to."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, soft_wrap=True, width=FILE_WIDTH)


def print_json(document: Any) -> None:  # noqa: ANN401 -- whatever json takes
    """Print exactly one JSON document on stdout. Infinities and NaN, which JSON lacks, must be None by now."""
    sys.stdout.write(json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def table(title: str, *columns: str, right: tuple[str, ...] = (), whole: tuple[str, ...] = ()) -> Table:
    """Return an empty table in the house's look; columns in `right` hold numbers, those in `whole` are not folded."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        side = "right" if column in right else "left"
        made.add_column(column, justify=side, overflow="fold", no_wrap=column in whole)
    return made


SHOWN = 8
"""Rows of a table that is whole in the JSON document."""


def comparison_table(title: str, outputs: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return how close outputs are to their reference; `outputs` are those of a manifest's stage, as JSON."""
    rows = table(title, "output", "cosine", "SQNR dB", "max abs")
    for name, compared in list(outputs.items())[:SHOWN]:
        figures = ((compared["cosine"], 6), (compared["sqnr_db"], 1), (compared["max_abs"], 6))
        missing = "no number" if compared["cosine"] is None else "equal"
        other = f" ({compared['other_size']} of another size left out)" if compared["other_size"] else ""
        rows.add_row(name + other, *(missing if value is None else f"{value:.{digits}f}" for value, digits in figures))
    if len(outputs) > SHOWN:
        rows.add_row(f"({len(outputs) - SHOWN} more with --json)", "", "", "")
    return rows


HARDLY = 0.97
"""Share of the time of a more exact scheme from which on a mix is not worth its noise."""


def print_search(out: Console, search: Mapping[str, Any]) -> None:
    """Print what the search for precisions found; nothing where there was none."""
    if not search:
        return
    layers = ", ".join(f"{count} in {scheme}" for scheme, count in search["layers"].items())
    seen = "that calibration did not see" if search["held_out"] else "of the calibration data"
    reached = f"{search['text']} on {search['samples']} samples {seen}; " if search["text"] else ""
    time = "" if search["latency"] is None else f", {_times(search['latency'], search['widest_latency'])}"
    out.print(
        f"Mixed precision: {reached}layers {layers}; {search['bytes'] / 1e6:.2f} MB of weights{time}", markup=False
    )


def _times(mix: float, widest: float) -> str:
    """Say how the estimated time of a mix compares with those of the fastest mix and of the most exact scheme."""
    gain = "" if mix < HARDLY * widest else ", which is hardly more than the mix takes: take that scheme alone"
    return f"{mix:.2f} times the fastest mix's estimated time; {widest:.2f} times with all in the widest scheme{gain}"


def print_findings(out: Console, findings: Sequence[Mapping[str, Any]]) -> None:
    """Print what is wrong with encodings, by tensor name."""
    for finding in findings[:SHOWN]:
        out.print(f"note: {finding['tensor']}: {finding['text']}", markup=False)
    if len(findings) > SHOWN:
        out.print(f"note: {len(findings) - SHOWN} more tensors, with --json")


def halved_warnings(halved: Mapping[str, Any] | None) -> Sequence[str]:
    """Return what makes a model in a float type of 16 bits doubtful."""
    return () if halved is None else halved["warnings"]


def print_halved(out: Console, halved: Mapping[str, Any] | None) -> None:
    """Say what stays in float32 of a model in a float type of 16 bits, and how its numbers were come by."""
    if halved is None:
        return
    islands = halved["islands"]
    out.print(
        f"{halved['nodes']} nodes compute in {halved['dtype']}, {len(islands)} want float32; numbers: every op"
        f" {halved['checked_by'].removeprefix('every op ')}",
        markup=False,
    )
    for island in islands[:SHOWN]:
        out.print(f"float32: {island['op_type']} {island['node']}: {island['reason']}", markup=False)
    if len(islands) > SHOWN:
        out.print(f"float32: {len(islands) - SHOWN} more nodes, with --json")
    for one in halved["clamped"]:
        text = f"{one['largest']:.3g} became {one['became']:.6g}, the greatest there is"
        out.print(f"note: constant {one['constant']}: {text}", markup=False)


def print_steps(out: Console, steps: Sequence[Mapping[str, Any]], qualities: Sequence[Mapping[str, Any]]) -> None:
    """Say what each quantization step changed and, where that was measured, what is lost without it."""
    for step in steps:
        out.print(f"{step['name']}: {step['changed']} {step['text']}", markup=False, soft_wrap=True)
    if qualities:
        lines = table(
            "Signal to noise without each step",
            "without",
            "outputs",
            "worst layer",
            "layer",
            right=("outputs", "worst layer"),
        )
        for quality in qualities:
            levels = [_decibels(quality[key]) for key in ("output_sqnr_db", "worst_layer_sqnr_db")]
            lines.add_row(quality["without"] or "none", *levels, quality["worst_layer"])
        out.print(lines)


def _decibels(level: float | None) -> str:
    return "-" if level is None else f"{level:.2f} dB"


def print_calibration(out: Console, record: Mapping[str, Any]) -> None:
    """Print what is to be known of calibration data, where there was any."""
    for note in record.get("notes", ())[:SHOWN]:
        out.print(f"note: {note}", markup=False)
    if len(record.get("notes", ())) > SHOWN:
        out.print(f"note: {len(record['notes']) - SHOWN} more, with --json")


def print_warnings(warnings: Iterable[str]) -> None:
    """Print on stderr what makes a result doubtful, whatever else is printed."""
    for warning in warnings:
        sys.stderr.write(f"warning: {warning}\n")


@contextmanager
def progress() -> Generator[Callable[[str], None]]:
    """Yield a function that shows what is being done, on stderr; silent where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield status.update


def print_kept(out: Console, kept: Mapping[str, Any]) -> None:
    """Print what became of the encodings that a quantized model came with."""
    in_float = kept["in_float"]
    out.print(
        f"Its own encodings are kept, {kept['integers']} constants bit for bit; {len(kept['by_rule'])} follow from"
        f" others, {len(in_float)} nodes with some around them are computed in float",
        markup=False,
    )
    unmatched = kept["unmatched"]
    if unmatched:
        out.print(
            f"{len(unmatched)} tensors of the file are not in the model: {', '.join(unmatched[:SHOWN])}", markup=False
        )
    for node, why in list(in_float.items())[:20]:
        out.print(f"  float: {node}: {why}", markup=False)
    if len(in_float) > 20:
        out.print(f"  and {len(in_float) - 20} more; --json has all")


def print_facts(out: Console, facts: Mapping[str, str]) -> None:
    """Print what was recognised of a language model."""
    rows = table("Decoder", "what", "found")
    for name, text in facts.items():
        rows.add_row(name, text)
    out.print(rows)
