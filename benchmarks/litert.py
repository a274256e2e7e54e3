"""Compile models for LiteRT and compare both its sets of kernels with ONNX Runtime: the table of docs/roads/litert.md.

    python -m benchmarks.litert [MODEL ...] [--schemes SCHEME ...] [--samples N] [--json FILE]

Each row is one compile for `android/litert`, and the worst output of the TFLite model on the first samples of the
calibration data, by XNNPACK (with LiteRT's own kernels for what it leaves) and by LiteRT's own alone, against ONNX
Runtime on the same quantized model.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.optimize import LIGHT
from benchmarks.road_rows import subjects, write_light
from npuopt import api
from npuopt.delegates.contract import Limits
from npuopt.delegates.litert.interpret import interpret
from npuopt.errors import NpuoptError
from npuopt.graph import load
from npuopt.graph.execution import Session
from npuopt.quantization.samples.data import open_samples
from npuopt.road.options import CompileOptions
from npuopt.verify.compare import compare_runs

if TYPE_CHECKING:
    from benchmarks.road_rows import Subject

TARGET = "android/litert"
KERNELS = ("xnnpack", "builtin")


@dataclass(frozen=True)
class Row:
    """What one compile gave: a cosine and a ratio in dB for each set of kernels; `why` where it gave nothing."""

    model: str
    scheme: str
    compile_seconds: float
    export_seconds: float = 0.0
    megabytes: float = 0.0
    closeness: tuple[tuple[str, float, float], ...] = ()
    why: str = ""


def main() -> int:
    """Print one row for each model and scheme."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.litert", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--schemes", nargs="+", default=["a16w8", "a8w8"])
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    arguments = parser.parse_args()
    rows: list[Row] = []
    print("| model | scheme | compile | export | MB | XNNPACK | LiteRT's own kernels |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="npuopt-litert-") as temporary:
        known = subjects(Path(temporary))
        for name in arguments.models or known:
            if name in LIGHT:
                write_light(name, known[name])
            for scheme in arguments.schemes if known[name].file.is_file() else ():
                rows.append(row_of(name, known[name], scheme, Path(temporary) / "out", arguments.samples))
                print(text_of(rows[-1]), flush=True)
                if arguments.json is not None:
                    arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
            if name in LIGHT:
                known[name].file.unlink()
    return 0


def row_of(name: str, subject: Subject, scheme: str, out: Path, samples: int) -> Row:
    """Compile one model and run what came out with both sets of kernels."""
    data = subject.calibration
    calibration = data if data == "random" else str(subject.file.parent / data)
    options = CompileOptions(dims=subject.dims, calibration=calibration, precision=scheme, samples=1, time_limit=600.0)
    started = time.perf_counter()
    try:
        manifest = api.compile(subject.file, TARGET, out, options)
    except NpuoptError as error:
        return Row(name, scheme, time.perf_counter() - started, why=str(error)[:200])
    seconds = time.perf_counter() - started
    steps = [step for step in manifest.steps if step.kind == "npu"]
    files = sorted(out.rglob("model.tflite"))
    if len(steps) != 1 or len(files) != 1:
        return Row(name, scheme, seconds, why=f"{len(steps)} regions, of which one would be compared")
    model = out / "model.onnx"
    feeds = [dict(sample) for sample in islice(open_samples(calibration, load(model)), samples)]
    session = Session(model)
    expected = [session.run(feed) for feed in feeds]
    found: list[tuple[str, float, float]] = []
    for kernels in KERNELS:
        made = interpret(files[0], files[0].with_suffix(".json"), feeds, kernels, limits=Limits(seconds=600))
        compared = compare_runs(expected, made).values()
        cosines = [one.cosine for one in compared if one.cosine is not None]
        levels = [one.sqnr_db for one in compared if one.sqnr_db is not None]
        found.append((kernels, min(cosines), min(levels)))
    figures = steps[0].figures
    megabytes = int(figures["model_bytes"]) / 1e6
    return Row(name, scheme, seconds, float(figures["export_seconds"]), megabytes, tuple(found))


def text_of(row: Row) -> str:
    """Write a row of the table."""
    if row.why:
        return f"| {row.model} | {row.scheme} | {row.compile_seconds:.0f} s | | | | {row.why} |"
    cells = [
        f"{cosine:.6f}, {'equal' if level == float('inf') else f'{level:.1f} dB'}" for _, cosine, level in row.closeness
    ]
    export = f"{row.export_seconds:.2f} s | {row.megabytes:.1f}"
    return f"| {row.model} | {row.scheme} | {row.compile_seconds:.0f} s | {export} | {cells[0]} | {cells[1]} |"


if __name__ == "__main__":
    sys.exit(main())
