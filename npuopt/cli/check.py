"""`npuopt check`: where every node would go, and why, without compiling anything."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from npuopt.cli.options import (
    DimOption,
    JsonOption,
    ModelArgument,
    PassFileOption,
    PrecisionOption,
    TargetOption,
    parse_dims,
)
from npuopt.cli.output import console, print_json, progress, table

if TYPE_CHECKING:
    from rich.console import Console

    from npuopt.api import CheckResult


def check_command(
    model: ModelArgument,
    target: TargetOption,
    *,
    dim: DimOption = None,
    precision: PrecisionOption = "auto",
    min_npu: Annotated[
        float,
        typer.Option(
            "--min-npu", min=0, max=1, help="Fail (exit 4) when a smaller fraction of nodes would be on the NPU."
        ),
    ] = 0.0,
    save_nodes: Annotated[
        Path | None, typer.Option("--save-nodes", help="Save each refused node as a one-op model.", metavar="DIR")
    ] = None,
    pass_file: PassFileOption = None,
    json: JsonOption = False,
) -> None:
    """Say which nodes of MODEL the target takes and, for each it refuses, every reason."""
    from npuopt import api
    from npuopt.errors import PlacementError

    options = api.CompileOptions(dims=parse_dims(dim), precision=precision, pass_files=tuple(pass_file or ()))
    with progress() as say:
        result = api.check(model, target, options, save_nodes=save_nodes, say=say)
    summary = result.summary
    if json:
        print_json(result.to_json())
    else:
        _print(result)
    if summary.npu_fraction < min_npu:
        raise PlacementError(
            f"{target} takes {summary.npu_fraction:.1%} of the nodes, less than the {min_npu:.1%} asked for",
            where=str(model),
            hint="the reasons are listed above",
        )


def _print(result: CheckResult) -> None:
    out = console()
    summary = result.summary
    out.print(
        f"{result.model} for {result.target}, scheme {result.scheme}: {summary.npu} of {summary.nodes} nodes on the"
        f" device ({summary.npu_fraction:.1%} of nodes, {summary.npu_mac_fraction:.1%} of MACs),"
        f" {summary.host} on the host, {summary.edge} at the graph's edge",
        markup=False,
    )
    places = {"npu": "on device", "host": "on host", "edge": "at the edge"}
    counts = {place: Counter(node.op_type for node in result.nodes if node.placement == place) for place in places}
    if not counts["edge"]:
        del places["edge"]
    rows = table("", "op", *places.values(), right=tuple(places.values()))
    for op_type in sorted({node.op_type for node in result.nodes}):
        rows.add_row(op_type, *(str(counts[place][op_type] or "") for place in places))
    out.print(rows)
    _print_lowerings(out, result)
    for node in result.nodes:
        if node.placement == "edge":
            out.print(f"edge: {node.op_type} {node.name}: {'; '.join(node.reasons)}", markup=False)
        elif node.placement == "host":
            out.print(f"host: {node.op_type} {node.name}: {'; '.join(node.reasons)}", markup=False)
            if node.reasons:
                _print_tried(out, node.op_type, result.tried.get(node.name, ()))
    for path in result.saved:
        out.print(f"saved {path}", markup=False)


def _print_lowerings(out: Console, result: CheckResult) -> None:
    if not (result.refused_before or result.lowered):
        return
    out.print(f"left to the host: {result.refused_before} nodes before lowering, {result.refused_after} after")
    if result.lowered:
        rows = table("", "op", "nodes", "lowered by", right=("nodes",))
        for item in result.lowered:
            rows.add_row(item.op_type, str(item.nodes), ", then ".join(item.by))
        out.print(rows)


def _print_tried(out: Console, op_type: str, tried: tuple[str, ...]) -> None:
    for text in tried:
        out.print(f"      tried {text}", markup=False)
    if not tried:
        out.print(f"      tried nothing: no lowering takes {op_type} apart", markup=False)
