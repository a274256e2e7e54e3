"""Prints what compiling one model for several targets gave: a row for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.cli.output import console, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from npuopt.api import Refused
    from npuopt.bundle import Manifest


def print_artifacts(found: Sequence[Manifest | Refused], out: Path) -> None:
    """Print the placement, accuracy and size of each artifact, then why a target has none."""
    from npuopt.bundle import Manifest

    figures = ("nodes", "MACs", "least SQNR dB", "MB")
    whole = ("target", "scheme", *figures)
    rows = table("", *whole, "artifact", right=figures, whole=whole)
    for manifest in found:
        if isinstance(manifest, Manifest):
            target = str(manifest.target["name"])
            placement, size = manifest.placement, sum(file.bytes for file in manifest.files.values())
            shares = (f"{placement.npu_fraction:.1%}", f"{placement.npu_mac_fraction:.1%}")
            scheme = str(manifest.recipe["precision"])
            rows.add_row(target, scheme, *shares, _least_sqnr(manifest), f"{size / 1e6:.1f}", str(out / target))
    console().print(rows)
    for refused in found:
        if not isinstance(refused, Manifest):
            console().print(f"{refused.target}: {refused.error}", markup=False)


def _least_sqnr(manifest: Manifest) -> str:
    """Return the worst output's signal to noise, over all comparisons; empty where there was none."""
    outputs = [output for stage in manifest.verification for output in stage.outputs.values()]
    levels = [output.sqnr_db for output in outputs if output.sqnr_db is not None]
    return f"{min(levels):.1f}" if levels else "equal" if outputs else ""
