"""`npuopt compare`: what tells two models apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npuopt.cli.options import DimOption, JsonOption, SamplesOption, ToleranceOption, parse_dims
from npuopt.cli.output import console, print_json, progress, table
from npuopt.errors import AccuracyError

if TYPE_CHECKING:
    from rich.console import Console

MOST_LINES = 10
"""Lines of one list that are printed; --json has all."""


def compare_command(
    before: Annotated[Path, typer.Argument(help="The ONNX model to compare with.", show_default=False)],
    after: Annotated[Path, typer.Argument(help="The other ONNX model.", show_default=False)],
    *,
    dim: DimOption = None,
    inputs: SamplesOption = None,
    tolerance: ToleranceOption = None,
    diff: Annotated[bool, typer.Option("--diff", help="Print both graphs as a line-by-line diff.")] = False,
    json: JsonOption = False,
) -> None:
    """Tell two models apart in structure and in numbers; exit 5 when the numbers differ."""
    from npuopt import api

    with progress() as say:
        result = api.compare(
            before, after, sizes=parse_dims(dim), inputs=inputs, tolerance=tolerance, with_diff=diff, say=say
        )
    if json:
        print_json(result)
    else:
        _print(console(), result)
    if not result["equal"]:
        different = [name for name, output in result["outputs"].items() if not output["equal"]]
        what = f"output {', '.join(different)} differs" if different else "the models have different outputs"
        raise AccuracyError(f"{what} from that of {before}", where=str(after))


def _print(out: Console, result: dict[str, Any]) -> None:
    structure = result["structure"]
    if structure["same"]:
        out.print("same graph, same weights")
    else:
        (nodes, nodes_after), (size, size_after) = structure["nodes"], structure["weight_bytes"]
        out.print(f"{nodes} -> {nodes_after} nodes, {size} -> {size_after} bytes of weights")
        rows = table("", "op", "before", "after", right=("before", "after"))
        for op, (count, count_after) in structure["ops"].items():
            rows.add_row(op, str(count), str(count_after))
        if structure["ops"]:
            out.print(rows)
        _print_some(out, "", structure["interface"])
        _print_some(out, "weight ", structure["weights"])
        _print_some(out, "only before: ", structure["only_before"])
        _print_some(out, "only after: ", structure["only_after"])
    if "diff" in result:
        out.print(result["diff"], markup=False)
    columns = ("cosine", "sqnr_db", "max_abs", "max_relative")
    rows = table(f"{result['samples']} sample(s)", "output", "equal", *columns, right=columns)
    for name, output in result["outputs"].items():
        numbers = (output.get(column) for column in columns)
        rows.add_row(
            name, "yes" if output["equal"] else "no", *("" if one is None else f"{one:.6g}" for one in numbers)
        )
    out.print(rows)


def _print_some(out: Console, head: str, lines: list[str]) -> None:
    for line in lines[:MOST_LINES]:
        out.print(f"{head}{line}", markup=False)
    if len(lines) > MOST_LINES:
        out.print(f"{head}and {len(lines) - MOST_LINES} more; --json has all", markup=False)
