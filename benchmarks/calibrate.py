"""What calibration takes beside plain inference of the same samples: CPU time and peak memory of whole processes.

    python -m benchmarks.calibrate [MODEL ...] [--samples 32 1000] [--method minmax] [--rounds 2] [--json]

Plain inference opens the model as it came in ONNX Runtime, with all its optimizations, and runs each sample.
Calibration prepares the model for a target, as quantizing does, and finds all its ranges. Both use one thread, draw
the same samples, and import the same packages. Peak memory is the operating system's, of the ended process.
`make models` brings the trained models, `python -m benchmarks.export_transformers` bert12 and llama12.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.location import EXAMPLES, models_folder
from benchmarks.optimize import run
from npuopt.cli.quantization_options import parse_method
from npuopt.graph import graphs_of, load
from npuopt.graph.execution import Session
from npuopt.graph.seeded import seeded_inputs
from npuopt.pipeline.runner import Runner
from npuopt.quantization import calibrate
from npuopt.road.preparation import prepare
from npuopt.target import load_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

TARGET, SCHEME = "qualcomm/sm8750", "a8w8"
DISTINCT = 8
"""Samples that are drawn; more are these again, so that making them takes no part in the comparison."""

MODELS: dict[str, tuple[Path, Mapping[str, int]]] = {
    "tiny_llama": (EXAMPLES / "tiny_llama", {"batch": 1, "seq": 128, "past": 0}),
    "fashion_mnist": (EXAMPLES / "fashion_mnist", {"batch": 1}),
    "bert12": (models_folder() / "bert12", {"batch": 1, "seq": 128}),
    "llama12": (models_folder() / "llama12", {"batch": 1, "seq": 128, "past": 0, "total": 128}),
    "minilm": (models_folder() / "minilm", {"batch": 1, "seq": 128}),
    "efficientnet_lite0": (models_folder() / "efficientnet_lite0", {"batch": 1}),
}

LARGEST_RATIO = 1.5
"""Of CPU time to plain inference, and of peak memory beyond `FREE_MEBIBYTES` to the weights."""

FREE_MEBIBYTES = 300


@dataclass(frozen=True)
class Row:
    """One model with one number of samples.

    Attributes:
        model: its name.
        samples: how many.
        weight_mebibytes: of the model as it is calibrated.
        plain_seconds: CPU time of plain inference.
        seconds: CPU time of calibration.
        plain_mebibytes: peak memory of plain inference.
        mebibytes: peak memory of calibration.
    """

    model: str
    samples: int
    weight_mebibytes: float
    plain_seconds: float
    seconds: float
    plain_mebibytes: float
    mebibytes: float

    @property
    def ratio(self) -> float:
        """Return how many times the CPU time of plain inference calibration takes."""
        return self.seconds / self.plain_seconds

    @property
    def allowed_mebibytes(self) -> float:
        """Return the most memory that calibrating or quantizing the model may take."""
        return LARGEST_RATIO * self.weight_mebibytes + FREE_MEBIBYTES

    def meets_bars(self) -> bool:
        """Say whether time and memory are within the bars."""
        return self.ratio <= LARGEST_RATIO and self.mebibytes <= self.allowed_mebibytes


def main() -> int:
    """Print one row for each model and number of samples."""
    arguments = parse_arguments()
    if arguments.child:
        return child(arguments)
    if not arguments.json:
        print("| model | samples | CPU s, plain | CPU s, calibration | ratio | MiB, weights | MiB, plain | MiB, peak |")
        print("|---|---|---|---|---|---|---|---|")
    rows = list(measure_all(arguments))
    return 0 if all(row.meets_bars() for row in rows) else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibrate", description=__doc__)
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--samples", nargs="*", type=int, default=[32, 1000], help="numbers of samples")
    parser.add_argument("--method", default="minmax", help="as --calibration-method")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each; the least CPU time counts")
    parser.add_argument("--seconds", type=int, default=900, help="CPU time that a run may take")
    parser.add_argument("--json", action="store_true", help="one JSON document a row")
    parser.add_argument("--child", choices=("plain", "calibrate"), help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_all(arguments: argparse.Namespace) -> Iterator[Row]:
    """Measure and print row by row."""
    for name in arguments.models:
        if not (MODELS[name][0] / "model.onnx").is_file():
            print(f"{name}: not there", file=sys.stderr)
            continue
        for samples in arguments.samples:
            row = measure(name, samples, arguments.method, rounds=arguments.rounds, seconds=arguments.seconds)
            if arguments.json:
                print(json.dumps({**asdict(row), "meets_bars": row.meets_bars()}), flush=True)
            else:
                cells = (
                    name,
                    str(samples),
                    f"{row.plain_seconds:.1f}",
                    f"{row.seconds:.1f}",
                    f"{row.ratio:.2f}{'' if row.meets_bars() else ' (missed)'}",
                    f"{row.weight_mebibytes:.0f}",
                    f"{row.plain_mebibytes:.0f}",
                    f"{row.mebibytes:.0f}",
                )
                print(f"| {' | '.join(cells)} |", flush=True)
            yield row


def measure(name: str, samples: int, method: str = "minmax", *, rounds: int, seconds: int) -> Row:
    """Let plain inference and calibration take turns; a run may take so many seconds of CPU time."""
    taken: dict[str, list[tuple[float, float]]] = {"plain": [], "calibrate": []}
    for _ in range(rounds):
        for kind, found in taken.items():
            options = ["--samples", str(samples), "--method", method, "--child", kind]
            command = [sys.executable, "-m", "benchmarks.calibrate", name, *options]
            cpu, peak, succeeded = run(command, seconds, sys.stderr.fileno())
            if not succeeded:
                raise SystemExit(f"{name}: {kind} failed")
            found.append((cpu, peak))
    (plain, plain_peak), (cpu, peak) = (
        (min(cpu for cpu, _ in found), max(peak for _, peak in found)) for found in taken.values()
    )
    return Row(name, samples, weight_mebibytes(name), plain, cpu, plain_peak, peak)


def child(arguments: argparse.Namespace) -> int:
    """Do one of the two things, as the only task of this process."""
    name, (samples,) = arguments.models[0], arguments.samples
    folder, dims = MODELS[name]
    model = load(folder / "model.onnx")
    if arguments.child == "plain":
        session = Session(folder / "model.onnx", optimize=True, threads=1)
        for sample in Repeated([seeded_inputs(model, seed, dims) for seed in range(DISTINCT)], samples):
            session.run(sample)
        return 0
    prepare(model, Runner(load_target(TARGET), "off", []), dims, scheme=SCHEME, say=lambda text: None)
    drawn = [seeded_inputs(model, seed) for seed in range(DISTINCT)]
    calibrate(model, Repeated(drawn, samples), parse_method(arguments.method), threads=1)
    return 0


class Repeated:
    """A few samples again and again."""

    def __init__(self, drawn: Sequence[Mapping[str, np.ndarray]], count: int) -> None:
        self.count = count
        self._drawn = drawn

    def __iter__(self) -> Iterator[Mapping[str, np.ndarray]]:
        """Yield as many as asked for."""
        return (self._drawn[index % len(self._drawn)] for index in range(self.count))


def weight_mebibytes(name: str) -> float:
    """Return how large the model's weights are."""
    model = load(MODELS[name][0] / "model.onnx")
    tensors = (value.const_value for graph in graphs_of(model) for value in graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if tensor is not None) / 2**20


if __name__ == "__main__":
    sys.exit(main())
