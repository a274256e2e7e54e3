"""Compile models through every vendor road and print what each made of them: the table of the README.

    python -m benchmarks.roads [MODEL ...] [--targets ID ...] [--estimates] [--json FILE]

Every row is one compile: the share of nodes on the NPU, seconds, the vendor's own figures, and the worst output of the
vendor's simulator (or of LiteRT, or OpenVINO's CPU device) against the quantized model in ONNX Runtime. `--estimates`
compares npuopt's own estimates of cycles and memory with the vendor's.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.location import EXAMPLES, models_folder
from benchmarks.optimize import LIGHT, LIGHT_FOLDER
from benchmarks.seeded_weights import seeded_weights
from npuopt import api
from npuopt.cli.quantization_options import parse_precisions
from npuopt.errors import NpuoptError
from npuopt.road.options import CompileOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from npuopt.bundle import Manifest

TARGETS = ("qualcomm/sm8750", "android/litert", "arm/ethos-u55-128", "arm/ethos-u85-512", "intel/npu4000")
ETHOS_U = tuple(f"arm/ethos-{name}" for name in ("u55-64", "u55-128", "u55-256", "u65-512", "u85-256", "u85-512"))


@dataclass(frozen=True)
class Subject:
    """A model, its dims, and its calibration data; `random` where only structure and figures count."""

    file: Path
    dims: Mapping[str, int] = field(default_factory=dict[str, int])
    calibration: str = "random"


@dataclass(frozen=True)
class Row:
    """What one compile gave; `why` where it gave nothing."""

    model: str
    target: str
    scheme: str = ""
    npu_fraction: float | None = None
    edge: int = 0
    host_ops: tuple[str, ...] = ()
    seconds: float = 0.0
    cosine: float | None = None
    sqnr_db: float | None = None
    figures: dict[str, Any] = field(default_factory=dict[str, Any])
    estimated_seconds: float | None = None
    estimated_peak: int | None = None
    estimated_on_chip: int | None = None
    why: str = ""


def subjects(folder: Path) -> dict[str, Subject]:
    """Name every model; the light CNNs are written to `folder` when they are asked for."""
    llama, fetched = EXAMPLES / "tiny_llama", models_folder()
    named = {
        "fashion_mnist": Subject(EXAMPLES / "fashion_mnist/model.onnx", {"batch": 1}, "calibration.npz"),
        "tiny_llama-decode": Subject(llama / "model.onnx", {"batch": 1, "seq": 1, "past": 127}, "calibration.npz"),
        "tiny_llama-prefill": Subject(
            llama / "model.onnx", {"batch": 1, "seq": 128, "past": 0}, "calibration_prefill.npz"
        ),
        "minilm": Subject(fetched / "minilm/model.onnx", {"batch": 1, "seq": 128}, "calibration.npz"),
        "efficientnet_lite0": Subject(fetched / "efficientnet_lite0/model.onnx", {"batch": 1}, "calibration.npz"),
        "ppocr_rec": Subject(fetched / "ppocr_rec/model.onnx", {"x:0": 1, "x:2": 48, "x:3": 320}, "calibration.npz"),
        "ppocr_det": Subject(fetched / "ppocr_det/model.onnx", {"x:0": 1, "x:2": 320, "x:3": 320}, "calibration.npz"),
        "silero": Subject(fetched / "silero/model.onnx", {"sequence_length": 32}, "calibration.npz"),
    }
    return {**named, **{name: Subject(folder / f"{name}.onnx") for name in LIGHT}}


def main() -> int:
    """Print one row for each model and target."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roads", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--targets", nargs="+", metavar="ID", default=list(TARGETS))
    parser.add_argument(
        "--precision", default="auto", metavar="SCHEME", help="of the target; its own choice by default"
    )
    parser.add_argument("--keep", action="append", default=[], metavar="NAME=SCHEME", help="as of `npuopt compile`")
    parser.add_argument("--seconds", type=float, default=600.0, help="that a vendor tool may take")
    parser.add_argument("--estimates", action="store_true", help="compare estimates with the vendor's figures")
    parser.add_argument("--random", action="store_true", help="calibrate with random data: structure and figures only")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    arguments = parser.parse_args()
    rows: list[Row] = []
    print("| model | target | scheme | on the NPU | compile | worst cosine | SQNR dB | vendor's figures |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="npuopt-roads-") as temporary:
        known = subjects(Path(temporary))
        for name in arguments.models or known:
            if name in LIGHT:
                seeded_weights(LIGHT_FOLDER / f"{name}.onnx", known[name].file)
            if not known[name].file.is_file():
                print(f"| {name} | not there: run `make models` | | | | | | |")
                continue
            for target in arguments.targets:
                row = compile_one(name, known[name], target, Path(temporary) / "out", arguments)
                rows.append(row)
                print(text_of(row), flush=True)
                if arguments.json is not None:  # after every row: a run over all takes an hour
                    arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    if arguments.estimates:
        print_estimates(rows)
    return 0


def compile_one(name: str, subject: Subject, target: str, out: Path, arguments: argparse.Namespace) -> Row:
    """Compile one model for one target and put together what is known of it."""
    data = "random" if arguments.random or subject.calibration == "random" else str(_beside(subject))
    options = CompileOptions(
        dims=subject.dims,
        calibration=data,
        precision=arguments.precision,
        precisions=parse_precisions(None, arguments.keep),
        samples=1,
        time_limit=arguments.seconds,
        **({"verify": "off"} if arguments.random else {}),
    )
    started = time.perf_counter()
    try:
        checked = api.check(subject.file, target, CompileOptions(dims=subject.dims))
        started = time.perf_counter()
        manifest = api.compile(subject.file, target, out, options)
    except NpuoptError as error:
        return Row(name, target, seconds=time.perf_counter() - started, why=str(error)[:200])
    times = [region.seconds for region in checked.regions if region.seconds is not None]
    return Row(
        model=name,
        target=target,
        scheme=str(manifest.recipe["precision"]),
        npu_fraction=manifest.placement.npu_fraction,
        edge=manifest.placement.edge,
        host_ops=tuple(sorted({node.op_type for node in manifest.nodes if node.placement == "host"})),
        seconds=time.perf_counter() - started,
        **_closeness(manifest),
        figures=_figures(manifest),
        estimated_seconds=sum(times) if times else None,
        estimated_peak=max((region.memory.peak for region in checked.regions if region.memory), default=None),
        estimated_on_chip=max((region.memory.on_chip for region in checked.regions if region.memory), default=None),
    )


def _beside(subject: Subject) -> Path:
    return subject.file.parent / subject.calibration


def _closeness(manifest: Manifest) -> dict[str, float | None]:
    compiled = next((stage for stage in manifest.verification if stage.name == "compiled"), None)
    outputs = [] if compiled is None else list(compiled.outputs.values())
    cosines = [output.cosine for output in outputs if output.cosine is not None]
    levels = [output.sqnr_db for output in outputs if output.sqnr_db is not None]
    return {"cosine": min(cosines, default=None), "sqnr_db": min(levels, default=None)}


def _figures(manifest: Manifest) -> dict[str, Any]:
    """Sum up what the vendor says of all regions: cycles and bytes add up, memory is that of the largest."""
    steps = [step.figures for step in manifest.steps if step.kind == "npu"]
    total: dict[str, Any] = {}
    for figures in steps:
        cycles = figures.get("cycles")
        if isinstance(cycles, dict):
            total["cycles"] = total.get("cycles", 0) + int(cycles["total"])
        for key in ("sram_bytes", "dram_bytes"):
            if key in figures:
                total[key] = max(total.get(key, 0), int(figures[key]))
        for key in ("binary_bytes", "model_bytes"):
            if key in figures:
                total[key] = total.get(key, 0) + int(figures[key])
        for key, number in figures.get("against_litert", {}).items():
            total[key] = total.get(key, 0) + int(number)
    return total


def text_of(row: Row) -> str:
    """Write a row of the table."""
    if row.why:
        return f"| {row.model} | {row.target} | | | {row.seconds:.0f} s | | | {row.why} |"
    edge = f", {row.edge} at the edge" if row.edge else ""
    host = f", host: {' '.join(row.host_ops)}" if row.host_ops else ""
    units = {"cycles": (1e6, "M cycles"), "sram_bytes": (1024, "KiB SRAM"), "dram_bytes": (1024, "KiB DRAM")}
    units |= {"binary_bytes": (1e6, "MB"), "model_bytes": (1e6, "MB")}
    figures = ", ".join(
        f"{row.figures[key] / size:.3g} {unit}" for key, (size, unit) in units.items() if key in row.figures
    )
    if "differing" in row.figures:
        figures += ", {differing} of {elements} differ from LiteRT by up to {most_steps}".format(**row.figures)
    cells = (
        *(row.model, row.target, row.scheme, f"{row.npu_fraction:.1%}{edge}{host}", f"{row.seconds:.0f} s"),
        "" if row.cosine is None else f"{row.cosine:.6f}",
        "" if row.sqnr_db is None else f"{row.sqnr_db:.1f}",
        figures,
    )
    return f"| {' | '.join(cells)} |"


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
    print("\n| model | target | estimated / vendor's cycles | estimated / vendor's peak SRAM |\n|---|---|---|---|")
    for row, cost in zip(known, estimated, strict=True):
        sram = row.figures.get("sram_bytes")
        # what has nowhere to go but SRAM takes as much of it as it needs, whatever size the descriptor says it has
        expected = row.estimated_on_chip if row.figures.get("dram_bytes") else row.estimated_peak
        memory = "" if not sram or expected is None else f"{expected / sram:.2f}"
        print(f"| {row.model} | {row.target} | {cost / row.figures['cycles']:.2f} | {memory} |")


def _clock(target: str) -> float:
    """Return the target's clock in Hz."""
    from npuopt.target import load_target  # noqa: PLC0415 -- heavy

    return (load_target(target).performance.clock_mhz or 0.0) * 1e6


if __name__ == "__main__":
    sys.exit(main())
