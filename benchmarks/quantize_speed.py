"""What quantizing takes beside ONNX Runtime's, and calibration beside plain inference: the benchmark's rows on speed.

The rows `bert12-speed`, `llama12-speed` and those of 1,000 samples of `python -m benchmarks.quantize`. Weights and
token ids are random, so nothing is said of quality. npuopt runs its check, and without the steps that learn or widen,
as ONNX Runtime has none. Everything has one thread; the tools take turns, and of several rounds the least CPU time and
the largest peak count.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import calibrate
from benchmarks.optimize import run
from benchmarks.quantize_commands import DEFAULT_OF_ORT, Peers, command
from benchmarks.quantize_rows import NPU
from npuopt.graph import load
from npuopt.graph.seeded import seeded_inputs
from tools.models.failure import last_lines

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

LARGEST_SHARE = 1 / 3
"""Of ONNX Runtime's CPU time that the quantize step may take."""

WITHOUT = (
    "smooth-activations",
    "equalize-products",
    "widen-activations",
    "correct-biases",
    "round-weights",
    "widen-weights",
)
"""The standard steps that ONNX Runtime has no counterpart of."""

SECONDS = 7200


@dataclass(frozen=True)
class SpeedRow:
    """One model with one number of samples.

    Attributes:
        model: its name, one of `calibrate.MODELS`.
        samples: how many calibrate.
        variant: what tells it from another row of the same model.
    """

    model: str
    samples: int = 32
    variant: str = "speed"
    scheme: str = "a8w8"
    target: str = NPU
    options: tuple[str, ...] = (
        "--calibration-method",
        "minmax",
        *(text for name in WITHOUT for text in ("--no-step", name)),
    )
    is_transformer: bool = True

    @property
    def name(self) -> str:
        """Return what the command line calls it."""
        return f"{self.model}-{self.variant}"

    @property
    def folder(self) -> Path:
        """Return where its model lies."""
        return calibrate.MODELS[self.model][0]

    @property
    def dims(self) -> Mapping[str, int]:
        """Return which dims to freeze."""
        return calibrate.MODELS[self.model][1]


@dataclass
class Taken:
    """What one tool took.

    Attributes:
        cpu_seconds, peak_mebibytes: of the whole process; None where it never ended well.
        failure: its last words then.
    """

    cpu_seconds: float | None = None
    peak_mebibytes: float | None = None
    failure: str = ""

    def add(self, cpu: float, peak: float) -> None:
        """Take in one more run."""
        self.cpu_seconds = min(cpu, self.cpu_seconds or cpu)
        self.peak_mebibytes = max(peak, self.peak_mebibytes or peak)


@dataclass
class Measured:
    """A row's figures.

    Attributes:
        row: whose.
        tools: what each took.
        calibration: npuopt's beside plain inference; None where npuopt was not asked.
    """

    row: SpeedRow
    tools: dict[str, Taken] = field(default_factory=dict[str, Taken])
    calibration: calibrate.Row | None = None

    @property
    def share(self) -> float | None:
        """Return which part of ONNX Runtime's CPU time the quantize step takes."""
        ours, theirs = (self.tools.get(tool, Taken()).cpu_seconds for tool in ("npuopt", DEFAULT_OF_ORT))
        return None if ours is None or theirs is None else ours / theirs

    def verdict(self) -> str:
        """Say which bars npuopt misses."""
        ours, beside = self.tools["npuopt"], self.calibration
        if ours.peak_mebibytes is None or beside is None:
            return "fails"
        missed = ["share"] if self.share is not None and self.share > LARGEST_SHARE else []
        missed += ["calibration"] if beside.ratio > calibrate.LARGEST_RATIO else []
        missed += ["memory"] if ours.peak_mebibytes > beside.allowed_mebibytes else []
        return f"misses {', '.join(missed)}" if missed else "met"


def speed_rows(samples: int | None = None) -> list[SpeedRow]:
    """Return the rows, in the table's order; with so many samples instead of their own number."""
    models = ("bert12", "llama12")
    rows = [*map(SpeedRow, models), *(SpeedRow(model, 1000, "speed-1000") for model in models)]
    return rows if samples is None else [replace(row, samples=samples) for row in rows]


def print_speeds(
    rows: Sequence[SpeedRow], groups: Collection[str], peers: Peers, *, rounds: int, as_json: bool
) -> None:
    """Measure the rows and print them as a table of their own."""
    tools = [tool for group, tool in (("npuopt", "npuopt"), ("ort", DEFAULT_OF_ORT)) if group in groups]
    there = [row for row in rows if (row.folder / "model.onnx").is_file()]
    for row in rows:
        if row not in there:
            print(f"{row.name}: not there; run `python -m benchmarks.export_transformers`", file=sys.stderr)
    if not there or not tools:
        return
    if not as_json:
        titles = ("row", "tool", "samples", "CPU s", "peak MiB", f"of {DEFAULT_OF_ORT}'s CPU s")
        titles += ("calibration / plain inference", "bars")
        print(f"\n| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for row in there:
        print_measured(measure(row, tools, peers, rounds), as_json=as_json)


def measure(row: SpeedRow, tools: Sequence[str], peers: Peers, rounds: int) -> Measured:
    """Let the tools take turns, then calibration and plain inference."""
    found = Measured(row, {tool: Taken() for tool in tools})
    with tempfile.TemporaryDirectory(prefix="npuopt-speed-") as folder:
        calibration = write_samples(row, Path(folder) / "calibration.npz")
        for _ in range(rounds):
            for tool, taken in found.tools.items():
                with tempfile.TemporaryFile() as errors:
                    output = calibration.with_name(f"{tool}.onnx")
                    cpu, peak, succeeded = run(command(row, tool, peers, calibration, output), SECONDS, errors)
                    if succeeded and output.is_file():
                        taken.add(cpu, peak)
                    else:
                        errors.seek(0)
                        taken.failure = last_lines(errors.read().decode(errors="replace"), 1)
    if "npuopt" in tools:
        found.calibration = calibrate.measure(row.model, row.samples, rounds=rounds, seconds=SECONDS)
    return found


def write_samples(row: SpeedRow, path: Path) -> Path:
    """Draw the row's samples and write them as `npuopt quantize --calibration` and the peers read them."""
    model = load(row.folder / "model.onnx")
    samples = [seeded_inputs(model, seed, row.dims) for seed in range(row.samples)]
    np.savez(path, allow_pickle=False, **{name: np.stack([one[name] for one in samples]) for name in samples[0]})
    return path


def print_measured(measured: Measured, *, as_json: bool) -> None:
    row, beside = measured.row, measured.calibration
    if as_json:
        tools = {tool: asdict(taken) for tool, taken in measured.tools.items()}
        calibrated = None if beside is None else asdict(beside)
        print(json.dumps({"row": row.name, "tools": tools, "calibration": calibrated}), flush=True)
        return
    for tool, taken in measured.tools.items():
        judged = [""] * 3
        if tool == "npuopt":
            ratios = (measured.share, None if beside is None else beside.ratio)
            judged = [*("" if ratio is None else f"{ratio:.3f}" for ratio in ratios), measured.verdict()]
        if taken.cpu_seconds is None or taken.peak_mebibytes is None:
            figures = ["fails: " + taken.failure.replace("|", "/")[:200], ""]
        else:
            figures = [f"{taken.cpu_seconds:.1f}", f"{taken.peak_mebibytes:.0f}"]
        print(f"| {' | '.join((row.name, tool, str(row.samples), *figures, *judged))} |", flush=True)
