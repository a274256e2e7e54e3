"""Dumps: the graph after each pass that changed something, as text without weights, and what it changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from npuopt.graph import diff, to_text

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.graph import Model
    from npuopt.pipeline.contract import Pass
    from npuopt.pipeline.report import Report


@dataclass
class Dumps:
    """An observer that writes `NN-name.txt`, `NN-name.diff` and `NN-name.report.txt` into a folder."""

    folder: Path
    _count: int = 0
    _before: str = field(default="", repr=False)

    def before(self, step: Pass, model: Model) -> None:
        """Write the graph that came in, once."""
        del step
        if self._count == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._before = to_text(model)
            (self.folder / "00-source.txt").write_text(self._before, encoding="utf-8")

    def after(self, step: Pass, model: Model, report: Report) -> None:
        """Write what the pass left, if it changed anything."""
        self._count += 1
        if not report.changed:
            return
        after = to_text(model)
        stem = f"{self._count:02d}-{step.name}"
        (self.folder / f"{stem}.txt").write_text(after, encoding="utf-8")
        (self.folder / f"{stem}.diff").write_text(diff(self._before, after), encoding="utf-8")
        (self.folder / f"{stem}.report.txt").write_text(_report_text(report), encoding="utf-8")
        self._before = after


def _report_text(report: Report) -> str:
    lines = [f"{report.name}: {report.nodes_before} -> {report.nodes_after} nodes in {report.seconds:.3f} s"]
    lines += [f"changed  {entry.op_type} {entry.node}: {entry.text}" for entry in report.changed]
    lines += [f"declined {entry.op_type} {entry.node}: {entry.text}" for entry in report.declined]
    return "\n".join([*lines, *report.notes]) + "\n"
