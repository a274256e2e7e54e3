"""Compare npuopt's own estimates of cycles and memory with the vendor's figures, over rows of `benchmarks.roads`.

A peak is that of SRAM where the vendor has a figure for it (Vela), else of all run-time tensors (RKNN-Toolkit2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.road_rows import Row


def print_estimates(rows: Sequence[Row]) -> None:
    """Compare estimated times with cycles by rank, over all rows, and estimated with real peaks of memory."""
    from scipy.stats import spearmanr  # noqa: PLC0415 -- an extra, for this alone

    known = [row for row in rows if row.estimated_seconds is not None and "cycles" in row.figures]
    if len(known) < 3:
        print("\ntoo few rows with cycles to compare estimates with")
        return
    clock = {row.target: _clock(row.target) for row in known}
    estimated = [(row.estimated_seconds or 0.0) * clock[row.target] for row in known]
    cycles = [row.figures["cycles"] for row in known]
    print(
        f"\nrank correlation of estimated cycles over {len(known)} rows: {spearmanr(estimated, cycles).statistic:.3f}"
    )
    print("\n| model | target | estimated / vendor's cycles | estimated / vendor's peak |\n|---|---|---|---|")
    for row, cost in zip(known, estimated, strict=True):
        peak = row.figures.get("sram_bytes") or row.figures.get("internal_bytes")
        # what has nowhere to go but SRAM takes as much of it as it needs, whatever size the descriptor says it has
        expected = row.estimated_on_chip if row.figures.get("dram_bytes") else row.estimated_peak
        memory = "" if not peak or expected is None else f"{expected / peak:.2f}"
        print(f"| {row.model} | {row.target} | {cost / row.figures['cycles']:.2f} | {memory} |")


def _clock(target: str) -> float:
    """Return the target's clock in Hz."""
    from npuopt.target import load_target  # noqa: PLC0415 -- heavy

    return (load_target(target).performance.clock_mhz or 0.0) * 1e6
