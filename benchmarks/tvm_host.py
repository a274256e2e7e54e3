"""Time of a model compiled with TVM over its time in ONNX Runtime, both with one thread.

    python benchmarks/tvm_host.py MODEL.onnx ... [--target host/x86-64] [--runs 60] [--json]

The models have static shapes (such as the model.onnx of an artifact). The two take turns, run by run, and the fastest
run of each counts, so that a busy machine slows both. ONNX Runtime has all of its optimizations on.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["TVM_NUM_THREADS"] = "1"  # read when tvm is imported

import numpy as np
import onnx

from npuopt.delegates.contract import Limits
from npuopt.delegates.host.loader import Model
from npuopt.delegates.host.tvm_delegate import TvmDelegate
from npuopt.graph import Session
from npuopt.target import Target, load_target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def sample_for(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Random inputs: floats around zero; integers from 0 to 999, or 0 and 1 where a name speaks of masks or types."""
    random = np.random.default_rng(0)
    sample: dict[str, np.ndarray] = {}
    for value in model.graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        largest = 2 if any(word in value.name for word in ("mask", "type")) else 1000
        drawn = random.standard_normal(shape) if kind.kind == "f" else random.integers(0, largest, shape)
        sample[value.name] = drawn.astype(kind)
    return sample


def measure(path: Path, target: Target, runs: int) -> dict[str, object]:
    """Compile, run and compare one model."""
    sample = sample_for(onnx.load(path, load_external_data=False))
    with tempfile.TemporaryDirectory() as folder:
        region = TvmDelegate().compile(path, Path(folder), target, limits=Limits())
        compiled = Model(folder)
        session = Session(path, optimize=True, threads=1)
        expected, made = session.run(sample), compiled.run(sample)
        both = fastest([lambda: compiled.run(sample), lambda: session.run(sample)], runs)
    return {
        "model": str(path),
        "tvm_ms": round(both[0] * 1e3, 3),
        "onnxruntime_ms": round(both[1] * 1e3, 3),
        "ratio": round(both[0] / both[1], 3),
        "relative_error": largest_error(expected, made),
        "compile_seconds": round(region.figures["compile_seconds"], 1),
        "plain_functions": region.figures["plain_functions"],
    }


def fastest(functions: list[Callable[[], object]], runs: int) -> list[float]:
    """The shortest wall-clock seconds of each function, called in turns."""
    best = [float("inf")] * len(functions)
    for _ in range(runs):
        for index, function in enumerate(functions):
            started = time.perf_counter()
            function()
            best[index] = min(best[index], time.perf_counter() - started)
    return best


def largest_error(expected: Mapping[str, np.ndarray], made: Mapping[str, np.ndarray]) -> float:
    """The largest difference of any output, as a fraction of that output's largest magnitude."""
    errors = [
        np.abs(made[name] - array).max(initial=0.0) / (np.abs(array).max(initial=0.0) or 1.0)
        for name, array in expected.items()
    ]
    return float(max(errors))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--target", default="host/x86-64")
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    target = load_target(arguments.target)
    rows = [measure(path, target, arguments.runs) for path in arguments.models]
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{'ratio':>6} {'TVM ms':>9} {'ORT ms':>9} {'error':>8}  model")
    for row in rows:
        line = "{ratio:>6.2f} {tvm_ms:>9.3f} {onnxruntime_ms:>9.3f} {relative_error:>8.1e}  {model}"
        print(line.format(**row))


if __name__ == "__main__":
    main()
