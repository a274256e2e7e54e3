"""`npuopt check`: where every node would go, and why, without compiling anything."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from npuopt.cli.check_targets import print_targets, region_text
from npuopt.cli.language_model_options import DecoderOptions
from npuopt.cli.option_groups import takes_groups
from npuopt.cli.options import (
    DimOption,
    JsonOption,
    ModelArgument,
    PassFileOption,
    PrecisionOption,
    TargetsOption,
    parse_dims,
)
from npuopt.cli.output import console, print_facts, print_json, progress, table
from npuopt.errors import PlacementError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from npuopt.api import CheckResult, CompileOptions


@takes_groups
def check_command(
    model: ModelArgument,
    target: TargetsOption = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Check all targets that npuopt knows, in one table.")] = False,
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
    decoder: DecoderOptions,
    json: JsonOption = False,
) -> None:
    """Say which nodes of MODEL the target takes and, for each it refuses, every reason."""
    from npuopt import api

    wanted = decoder.language_model()
    options = api.CompileOptions(
        dims=parse_dims(dim), precision=precision, pass_files=tuple(pass_file or ()), language_model=wanted
    )
    targets = _targets(target, every)
    if len(targets) > 1:
        if wanted is not None:
            raise UsageError("--context makes profiles for one target", hint="name one --target with it")
        _check_several(model, targets, options, save_nodes=save_nodes, min_npu=min_npu, json=json)
        return
    if wanted is not None:
        _check_decoder(model, targets[0], options, save_nodes=save_nodes, min_npu=min_npu, json=json)
        return
    with progress() as say:
        result = api.check(model, targets[0], options, save_nodes=save_nodes, say=say)
    if json:
        print_json(result.to_json())
    else:
        _print(result)
    _require_share([result], min_npu)


def _check_decoder(
    model: Path, target: str, options: CompileOptions, *, save_nodes: Path | None, min_npu: float, json: bool
) -> None:
    from npuopt import api

    with progress() as say:
        found = api.check_language_model(model, target, options, save_nodes=save_nodes, say=say)
    if json:
        print_json(found.to_json())
    else:
        print_facts(console(), found.facts)
        for result in found.profiles.values():
            _print(result)
    _require_share(list(found.profiles.values()), min_npu)


def _targets(names: list[str] | None, every: bool) -> list[str]:
    from npuopt.target import list_targets

    if every and names:
        raise UsageError("--all takes every target, so there is none to name with --target")
    if not every and not names:
        raise UsageError("no target is given", hint="give --target ID, or --all; `npuopt targets list` shows them")
    return list_targets() if every else list(dict.fromkeys(names or ()))


def _check_several(
    model: Path, targets: list[str], options: CompileOptions, *, save_nodes: Path | None, min_npu: float, json: bool
) -> None:
    from npuopt import api

    if save_nodes is not None:
        raise UsageError("--save-nodes keeps what one target refused", hint="name one --target with it")
    with progress() as say:
        found = api.check_targets(model, targets, options, say=say)
    if json:
        print_json({"model": str(model), "targets": [item.to_json() for item in found]})
    else:
        print_targets(found)
    _require_share([item for item in found if isinstance(item, api.CheckResult)], min_npu)


def _require_share(results: list[CheckResult], least: float) -> None:
    poor = [result for result in results if result.summary.npu_fraction < least]
    if poor:
        worst = min(poor, key=lambda result: result.summary.npu_fraction)
        others = f" (and {len(poor) - 1} more targets less than asked for)" if len(poor) > 1 else ""
        raise PlacementError(
            f"{worst.target} takes {worst.summary.npu_fraction:.1%} of the nodes, less than the {least:.1%} asked"
            f" for{others}",
            where=worst.model,
            hint="the reasons are listed above" if len(results) == 1 else "check that target alone for the reasons",
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
    for region in result.regions:
        out.print(region_text(region), markup=False)
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
