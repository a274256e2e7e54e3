"""Compile models through every vendor road and print what each made of them: the table of the README.

    python -m benchmarks.roads [MODEL ...] [--columns TITLE ...] [--json FILE]
    python -m benchmarks.roads [MODEL ...] --targets ID ... [--precision SCHEME] [--random] [--estimates]
    python -m benchmarks.roads --table FILE ...

Every row is one compile: the share of nodes on the NPU, seconds, the vendor's own figures, and the worst output of the
vendor's simulator (or of LiteRT, or OpenVINO's CPU device) against the same graph in ONNX Runtime. Without `--targets`
these are the columns of the README's table, whose rows come last; `--table` puts them together from the files of
earlier runs. `--estimates` compares npuopt's own estimates of cycles and memory with the vendor's.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.optimize import LIGHT
from benchmarks.road_estimates import print_estimates
from benchmarks.road_rows import COLUMNS, Column, Row, compile_one, subjects, write_light

if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> int:
    """Print one row for each model and target, then the table's."""
    arguments = _parser().parse_args()
    if arguments.table:
        stored = [Row(**row) for file in arguments.table for row in json.loads(file.read_text(encoding="utf-8"))]
        print_table(stored)
        return 0
    columns = chosen_columns(arguments)
    rows: list[Row] = []
    print("| model | target | scheme | on the NPU | compile | worst cosine | SQNR dB | vendor's figures |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="npuopt-roads-") as temporary:
        known = subjects(Path(temporary))
        for name in arguments.models or known:
            if name in LIGHT:
                write_light(name, known[name])
            if not known[name].file.is_file():
                print(f"| {name} | not there: run `make models` | | | | | | |")
                continue
            for column in columns:
                out = Path(temporary) / "out"
                rows.append(
                    compile_one(
                        *(name, known[name], column, out), seconds=arguments.seconds, checked=arguments.estimates
                    )
                )
                print(text_of(rows[-1]), flush=True)
                if arguments.json is not None:  # after every row: a run over all takes an hour
                    arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    if arguments.estimates:
        print_estimates(rows)
    if not arguments.targets:
        print_table(rows)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roads", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--columns", nargs="+", metavar="TITLE", help="of the table, by their first words; all")
    parser.add_argument("--targets", nargs="+", metavar="ID", default=[], help="these instead of the table's columns")
    parser.add_argument("--precision", default="auto", metavar="SCHEME", help="of --targets; their own choice")
    parser.add_argument("--keep", action="append", default=[], metavar="NAME=SCHEME", help="as of `npuopt compile`")
    parser.add_argument("--seconds", type=float, default=600.0, help="that a vendor tool may take")
    parser.add_argument("--estimates", action="store_true", help="compare estimates with the vendor's figures")
    parser.add_argument("--random", action="store_true", help="calibrate with random data: structure and figures only")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--table", nargs="+", type=Path, metavar="FILE", help="of --json: print the table of these")
    return parser


def chosen_columns(arguments: argparse.Namespace) -> list[Column]:
    """Return the columns of the table that are asked for, or one for each of `--targets`.

    Raises:
        SystemExit: for a title that no column starts with.
    """
    if arguments.targets:
        given = {"precision": arguments.precision, "random": arguments.random, "keep": tuple(arguments.keep)}
        return [Column(target, target, **given) for target in arguments.targets]
    wanted: Sequence[str] = arguments.columns or [""]
    if strange := [text for text in wanted if not any(column.title.startswith(text) for column in COLUMNS)]:
        raise SystemExit(f"no column is called {strange[0]!r}; there are: {'; '.join(each.title for each in COLUMNS)}")
    return [column for column in COLUMNS if column.title.startswith(tuple(wanted))]


def text_of(row: Row) -> str:
    """Write a row of what was measured."""
    if row.why:
        return f"| {row.model} | {row.target} | {row.scheme} | | {row.seconds:.0f} s | | | {row.why} |"
    units = {"cycles": (1e6, "M cycles"), "sram_bytes": (1024, "KiB SRAM"), "dram_bytes": (1024, "KiB DRAM")}
    units |= {"binary_bytes": (1e6, "MB"), "model_bytes": (1e6, "MB")}
    figures = ", ".join(
        f"{row.figures[key] / size:.3g} {unit}" for key, (size, unit) in units.items() if key in row.figures
    )
    if "differing" in row.figures:
        figures += ", {differing} of {elements} differ from LiteRT by up to {most_steps}".format(**row.figures)
    cells = (
        *(row.model, row.target, row.scheme, placement_of(row), f"{row.seconds:.0f} s"),
        "" if row.cosine is None else f"{row.cosine:.6f}",
        "" if row.sqnr_db is None else _level(row.sqnr_db, "{:.1f}"),
        figures,
    )
    return f"| {' | '.join(cells)} |"


def placement_of(row: Row) -> str:
    """Say which share of the nodes is on the NPU, and what is not."""
    edge = f", {row.edge} at the edge" if row.edge else ""
    host = f", host: {' '.join(row.host_ops)}" if row.host_ops else ""
    return f"{row.npu_fraction:.1%}{edge}{host}"


def print_table(rows: Sequence[Row]) -> None:
    """Print the README's table: a row for each model, a column for each title."""
    titles = [column.title for column in COLUMNS if any(row.column == column.title for row in rows)]
    found = {(row.model, row.column): row for row in rows}
    print(f"\n| model | {' | '.join(titles)} |\n|---|{'---|' * len(titles)}")
    for model in dict.fromkeys(row.model for row in rows):
        cells = (found.get((model, title)) for title in titles)
        print(f"| {model} | {' | '.join('' if row is None else cell_of(row) for row in cells)} |")


def cell_of(row: Row) -> str:
    """Write a cell of the table: what is not on the NPU, how close, how many cycles, and seconds to compile."""
    if row.why:
        return f"fails after {row.seconds:.0f} s"
    parts = [] if row.npu_fraction == 1.0 else [placement_of(row)]
    if row.sqnr_db is not None:
        parts.append(_level(row.sqnr_db, "{:.0f} dB"))
    if "cycles" in row.figures:
        parts.append(f"{row.figures['cycles'] / 1e6:.3g} M cycles")
    return ", ".join([*parts, f"{row.seconds:.0f} s"])


def _level(decibels: float, form: str) -> str:
    if math.isnan(decibels):
        return "not a number"
    return "equal" if decibels == math.inf else form.format(decibels)


if __name__ == "__main__":
    sys.exit(main())
