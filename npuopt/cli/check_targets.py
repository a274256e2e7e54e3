"""Prints what a model would take on targets: a line for a region, a table for many targets."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from npuopt.cli.output import console, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.api import CheckResult, MemoryFigures, Refused, RegionFigures

OPS = 4
"""Op types that a row names; `check` of that target alone names all."""


def region_text(region: RegionFigures) -> str:
    """Say in a line what a region would take."""
    text = f"{region.name}: {region.macs / 1e6:.1f} million multiply-adds"
    if region.memory is not None:
        weights, peak = region.memory.weights / 1024, region.memory.peak / 1024
        text += f", {weights:,.0f} KiB of weights, at most {peak:,.0f} KiB of run-time tensors at once"
        if region.memory.spilled:
            text += f", {region.memory.spilled / 1024:,.0f} KiB of tensors beyond the chip's own memory"
    return text if region.seconds is None else f"{text}; estimated {region.seconds * 1e3:.3g} ms"


def print_targets(found: Sequence[CheckResult | Refused]) -> None:
    """Print one row for each target: what it takes, what falls back, and what the regions would take."""
    from npuopt.api import CheckResult

    checked = [result for result in found if isinstance(result, CheckResult)]
    figures = ("nodes", "MACs", "weights KiB", "peak KiB", "spilled KiB", "ms")
    whole = ("target", "scheme", *figures)
    rows = table("", *whole, "on the host", right=figures, whole=whole)
    for result in checked:
        rows.add_row(result.target, result.scheme, *_figures(result), _fallback(result))
    out = console()
    out.print(rows)
    for refused in found:
        if not isinstance(refused, CheckResult):
            out.print(f"{refused.target}: {refused.error}", markup=False)
    if any(region.seconds is not None for result in checked for region in result.regions):
        out.print("ms: estimated for the regions alone, from the figures of the descriptors.")


def _figures(result: CheckResult) -> tuple[str, ...]:
    memories = [region.memory for region in result.regions]
    known = [memory for memory in memories if memory is not None]
    sizes = (sum(memory.weights for memory in known), *(max(column) for column in _columns(known)))
    times = [region.seconds for region in result.regions if region.seconds is not None]
    return (
        f"{result.summary.npu_fraction:.1%}",
        f"{result.summary.npu_mac_fraction:.1%}",
        *(f"{size / 1024:,.0f}" if known and len(known) == len(memories) else "" for size in sizes),
        f"{sum(times) * 1e3:.3g}" if times and len(times) == len(memories) else "",
    )


def _columns(memories: Sequence[MemoryFigures]) -> tuple[list[int], list[int]]:
    return [0, *(memory.peak for memory in memories)], [0, *(memory.spilled for memory in memories)]


def _fallback(result: CheckResult) -> str:
    """Name the op types on the host, the most frequent first."""
    ops = Counter(node.op_type for node in result.nodes if node.placement == "host").most_common()
    named = ", ".join(f"{op_type} {count}" if count > 1 else op_type for op_type, count in ops[:OPS])
    return f"{named} and {len(ops) - OPS} more ops" if len(ops) > OPS else named
