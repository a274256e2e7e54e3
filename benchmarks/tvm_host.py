"""Time of the real models compiled with TVM over their time in ONNX Runtime, both with one thread.

    python -m benchmarks.tvm_host [NAME ...] [--target host/x86-64] [--rounds 40] [--json]

Each model is compiled by `npuopt compile` in float. TVM, ONNX Runtime on the model as it came, and ONNX Runtime on the
model as npuopt prepared it take turns, round by round, in one process; ONNX Runtime has all of its optimizations on.
The ratio is the median over the rounds of TVM's time over that of the faster of the two.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["TVM_NUM_THREADS"] = "1"  # read when tvm is imported

import numpy as np
import onnx

from benchmarks.location import models_folder
from benchmarks.models import all_cases
from npuopt import api
from npuopt.delegates.host.loader import Model
from npuopt.graph import Session, load
from npuopt.quantization.samples.data import open_samples
from npuopt.road.options import CompileOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Arrays = dict[str, np.ndarray]

TRANSFORMERS = ("tiny_llama-decode", "tiny_llama-prefill", "minilm")
MOST_OVER_TRANSFORMERS, MOST_OVER_OTHERS = 1.5, 3.0
LEAST_SECONDS = 0.005  # of one timing: short models run several times in it


@dataclass(frozen=True)
class HostCase:
    """A model to compile in float.

    Attributes:
        name: of the row.
        source: the model file.
        dims: to freeze.
        data: a .npz whose first sample is run.
    """

    name: str
    source: Path
    dims: Mapping[str, int]
    data: Path

    @property
    def most(self) -> float:
        """The ratio aimed at."""
        return MOST_OVER_TRANSFORMERS if self.name in TRANSFORMERS else MOST_OVER_OTHERS


@dataclass(frozen=True)
class CompiledCase:
    """A compiled model and one sample of real data for it.

    Attributes:
        library: the folder of model.so.
        prepared: the model as npuopt prepared it, as an ONNX file.
        sample: inputs of `library` and `prepared`.
        source_sample: the same for the source: with the inputs that the freeze made empty.
        seconds: the compiler took.
        plain_functions: what did not get the planned schedule.
    """

    library: Path
    prepared: Path
    sample: Arrays
    source_sample: Arrays
    seconds: float
    plain_functions: Sequence[str]


def host_cases() -> list[HostCase]:
    """Return the models that are measured: those of the NPU's table, and the Silero sequence model."""
    cases = [
        HostCase(case.name, case.folder / "model.onnx", case.dims, case.folder / case.calibration)
        for case in all_cases()
    ]
    silero = models_folder() / "silero"
    return [*cases, HostCase("silero", silero / "model.onnx", {"sequence_length": 32}, silero / "calibration.npz")]


def compile_case(case: HostCase, target: str, out: Path) -> CompiledCase:
    """Compile a case into the folder `out`, as one library.

    Raises:
        ValueError: some nodes are not taken by TVM.
    """
    manifest = api.compile(case.source, target, out, CompileOptions(dims=case.dims, precision="fp32", verify="off"))
    if [step.road for step in manifest.steps] != ["tvm"]:
        raise ValueError(f"{case.name}: {manifest.placement.host} nodes are left to ONNX Runtime")
    step, prepared = manifest.steps[0], out / "model.onnx"
    sample = next(iter(open_samples(case.data, load(prepared))))
    return CompiledCase(
        library=(out / step.files[0]).parent,
        prepared=prepared,
        sample=dict(sample),
        source_sample={**sample, **_empty_inputs(case)},
        seconds=step.figures["compile_seconds"],
        plain_functions=step.figures["plain_functions"],
    )


def _empty_inputs(case: HostCase) -> Arrays:
    empty: Arrays = {}
    for value in onnx.load(case.source, load_external_data=False).graph.input:
        tensor = value.type.tensor_type
        shape = [case.dims.get(dim.dim_param, 1) if dim.dim_param else dim.dim_value or 1 for dim in tensor.shape.dim]
        if 0 in shape:
            empty[value.name] = np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return empty


def largest_error(expected: Mapping[str, np.ndarray], made: Mapping[str, np.ndarray]) -> float:
    """The largest difference of any output, as a fraction of that output's largest magnitude."""
    errors = [
        np.abs(made[name].astype(np.float64) - array).max(initial=0.0) / (np.abs(array).max(initial=0.0) or 1.0)
        for name, array in expected.items()
    ]
    return float(max(errors))


def measure(case: HostCase, target: str, rounds: int) -> dict[str, object]:
    """Compile, run and compare one model."""
    with tempfile.TemporaryDirectory(prefix="npuopt-host-") as folder:
        compiled = compile_case(case, target, Path(folder) / "out")
        model = Model(compiled.library)
        source = Session(case.source, optimize=True, threads=1)
        prepared = Session(compiled.prepared, optimize=True, threads=1)
        error = largest_error(source.run(compiled.source_sample), model.run(compiled.sample))
        runs: list[Callable[[], object]] = [
            lambda: model.run(compiled.sample),
            lambda: source.run(compiled.source_sample),
            lambda: prepared.run(compiled.sample),
        ]
        times = in_turns(runs, rounds)
    medians = [statistics.median(column) * 1e3 for column in zip(*times, strict=True)]
    faster = 1 if medians[1] <= medians[2] else 2
    return {
        "model": case.name,
        "ratio": round(statistics.median(row[0] / row[faster] for row in times), 2),
        "aim": case.most,
        "tvm_ms": round(medians[0], 3),
        "onnxruntime_ms": round(medians[1], 3),
        "onnxruntime_prepared_ms": round(medians[2], 3),
        "relative_error": error,
        "compile_seconds": round(compiled.seconds, 1),
        "plain_functions": len(compiled.plain_functions),
    }


def in_turns(functions: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of one call of each function, a list a round."""
    repeats = [_repeats(function) for function in functions]
    return [
        [_time(function, count) / count for function, count in zip(functions, repeats, strict=True)]
        for _ in range(rounds)
    ]


def _repeats(function: Callable[[], object]) -> int:
    function()
    return max(1, round(LEAST_SECONDS / _time(function, 1)))


def _time(function: Callable[[], object], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        function()
    return time.perf_counter() - started


def main() -> int:
    cases = host_cases()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tvm_host", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(case.name for case in cases))
    parser.add_argument("--target", default="host/x86-64")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - {case.name for case in cases}:
        parser.error(f"no model called {', '.join(sorted(unknown))}")
    if not arguments.json:
        print("| model | TVM / ONNX Runtime | aim | TVM ms | ONNX Runtime ms, as it came / prepared | relative error |")
        print("|---|---|---|---|---|---|")
    for case in cases:
        if arguments.names and case.name not in arguments.names:
            continue
        if not case.source.is_file():
            print(f"{case.name}: not there; run `make models`", file=sys.stderr)
            continue
        row = measure(case, arguments.target, arguments.rounds)
        print(json.dumps(row) if arguments.json else _table_row(row), flush=True)
    return 0


def _table_row(row: Mapping[str, object]) -> str:
    form = (
        "| {model} | {ratio:.2f} | {aim} | {tvm_ms:.2f} | {onnxruntime_ms:.2f} / {onnxruntime_prepared_ms:.2f} |"
        " {relative_error:.1e} |"
    )
    return form.format(**row)


if __name__ == "__main__":
    sys.exit(main())
