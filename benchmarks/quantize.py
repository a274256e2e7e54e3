"""npuopt and other quantizers side by side: quality at the same bits on the same samples, CPU time, peak memory.

    python -m benchmarks.quantize [ROW ...] [--tools npuopt ort nncf] [--samples N] [--judged N] [--keep DIR]
                                  [--rounds 2] [--json]

Every tool gets the same float model, the same calibration samples, and all its process does is measured, imports
included. `ort` is each way of ONNX Runtime that the scheme can be had by: quantize_static per channel with minmax,
entropy and percentile, its configuration for QNN, and blocked weights. Quality is that of the quantized model in ONNX
Runtime without optimizations and with exact integer sums. The rows bert12-speed and llama12-speed, with 32 samples or
1,000, tell time and memory alone (benchmarks/quantize_speed.py). The others get an environment of their own
(benchmarks/quantizers.txt), made on the first run; `make models` brings the models.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.judging import judged
from benchmarks.location import models_folder
from benchmarks.optimize import HERE, run
from benchmarks.quality import first
from benchmarks.quantize_commands import DEFAULT_OF_ORT, Peers, command
from benchmarks.quantize_rows import all_rows
from benchmarks.quantize_speed import print_speeds, speed_rows
from npuopt.errors import NpuoptError
from npuopt.graph.execution import Session
from tools.models.environment import environment_python
from tools.models.failure import last_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from benchmarks.quality import Score, Task
    from benchmarks.quantize_rows import Row
    from benchmarks.quantize_speed import SpeedRow


@dataclass
class Result:
    """One tool on one row.

    Attributes:
        tool: its name.
        cpu_seconds, peak_mebibytes: of the process that quantized.
        score: None when it failed.
        failure: its last words then.
        options: with which further options it ran.
    """

    tool: str
    cpu_seconds: float
    peak_mebibytes: float
    score: Score | None = None
    failure: str = ""
    options: tuple[str, ...] = ()


def main() -> int:
    arguments = parse_arguments()
    if any(tool != "npuopt" for tool in arguments.tools):
        python = environment_python(models_folder() / ".quantizers", HERE / "quantizers.txt")
    else:
        python = Path()
    peers = Peers(python, arguments.gibibytes)
    if rows := [row for row in all_rows() if is_wanted(row, arguments.rows)]:
        print_qualities(rows, arguments, peers)
    if timed := [row for row in speed_rows(arguments.samples) if is_wanted(row, arguments.rows)]:
        print_speeds(timed, arguments.tools, peers, rounds=arguments.rounds, as_json=arguments.json)
    return 0


def is_wanted(row: Row | SpeedRow, names: Sequence[str]) -> bool:
    """Say whether the command line asks for a row: by its name, by its model, or for all."""
    return not names or row.name in names or row.model in names


def print_qualities(rows: Sequence[Row], arguments: argparse.Namespace, peers: Peers) -> None:
    """Measure the rows on quality and print them as they come."""
    if not arguments.json:
        print("| model, scheme | tool | measured | bars | CPU s | peak MiB |\n|---|---|---|---|---|---|")
    before: dict[str, tuple[Task, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="npuopt-quantize-") as temporary:
        for row in rows:
            if not (row.folder / "model.onnx").is_file():
                print(f"{row.name}: not there; run `make models`", file=sys.stderr)
                continue
            if row.model not in before:
                before = {row.model: in_float(row, arguments.judged)}
            wanted = row if arguments.samples is None else replace(row, samples=arguments.samples)
            folder = (arguments.keep or Path(temporary)) / row.name
            folder.mkdir(parents=True, exist_ok=True)
            results: list[Result] = []
            for result in measure(wanted, *before[row.model], tools_for(row.scheme, arguments.tools), peers, folder):
                results.append(result)
                if arguments.json:
                    print(json.dumps({"row": row.name, **asdict(result)}), flush=True)
            if not arguments.json:
                print_results(row, results)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantize", description="Compare quantizers.")
    names = ", ".join(row.name for row in (*all_rows(), *speed_rows()))
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"a model, or of {names}")
    parser.add_argument("--tools", nargs="*", default=["npuopt", "ort", "nncf"], choices=["npuopt", "ort", "nncf"])
    parser.add_argument("--samples", type=int, help="calibration samples, instead of each row's own number")
    parser.add_argument("--judged", type=int, metavar="N", help="judge by the first N samples of each set")
    parser.add_argument("--gibibytes", type=float, default=8.0, help="of memory that a peer may ask for")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each tool in the rows on speed")
    parser.add_argument("--keep", type=Path, help="keep the quantized models here")
    parser.add_argument("--json", action="store_true", help="one JSON document a tool, once it is judged")
    return parser.parse_args()


def tools_for(scheme: str, groups: Sequence[str]) -> list[str]:
    """Return the tools of these groups that are worth asking for a scheme."""
    if scheme.startswith(("f", "b")):
        groups, ort = [group for group in groups if group == "npuopt"], []  # the others have no such scheme
    elif scheme.startswith("w"):
        ort = ["ort-nbits", "ort-nbits-asymmetric"]
    elif scheme.startswith("a16"):
        ort = [DEFAULT_OF_ORT, "ort-percentile", "ort-qnn"]  # entropy looks for 8 bits
    else:
        ort = [DEFAULT_OF_ORT, "ort-entropy", "ort-percentile", "ort-qnn"]
    members = {"npuopt": ["npuopt"], "ort": ort, "nncf": ["nncf"]}
    return [tool for group in groups for tool in members[group]]


def in_float(row: Row, judged_by: int | None = None) -> tuple[Task, Any]:
    """Open the row's task, on the first samples where a number is given, and run the float model on it."""
    task = row.task() if judged_by is None else first(row.task(), judged_by)
    return task, task.outputs(Session(row.folder / "model.onnx", optimize=True))


def measure(row: Row, task: Task, before: Any, tools: Sequence[str], peers: Peers, folder: Path) -> Iterator[Result]:  # noqa: ANN401 -- what the task made
    """Let every tool quantize the row's model, one after the other, and judge what it made."""
    calibration = folder / "calibration.npz"
    with np.load(row.folder / row.calibration, allow_pickle=False) as archive:
        samples = {name: archive[name][: row.samples] for name in archive.files}
    if row.lacks_batch:
        samples = {name: array[:, None] for name, array in samples.items()}
    count = len(next(iter(samples.values())))
    empty = {name: np.repeat(array[None], count, axis=0) for name, array in row.empty.items()}
    np.savez(calibration, allow_pickle=False, **samples, **empty)
    for tool in tools:
        yield measure_tool(row, tool, task, before, peers, calibration)


def measure_tool(row: Row, tool: str, task: Task, before: Any, peers: Peers, calibration: Path) -> Result:  # noqa: ANN401 -- what the task made
    """Let one tool quantize, and judge what it made."""
    output = calibration.with_name(f"{tool}.onnx")
    output.unlink(missing_ok=True)
    with tempfile.TemporaryFile() as errors:
        cpu, peak, succeeded = run(command(row, tool, peers, calibration, output), 7200, errors)
        result = Result(tool, cpu, peak, options=row.options if tool == "npuopt" else ())
        if not succeeded or not output.is_file():
            errors.seek(0)
            result.failure = last_lines(errors.read().decode(errors="replace"), 1)
            return result
    try:
        result.score = task.score(before, task.outputs(judged(output)))
    except NpuoptError as error:
        result.failure = str(error)
    return result


def verdict(row: Row, result: Result, results: Sequence[Result]) -> str:
    """Say which bars a tool misses, and for npuopt, who loses less."""
    if result.score is None:
        return "fails"
    losses = result.score.losses
    missed = [name for name, most in row.bars.items() if losses[name] > most]
    if row.ahead_db is not None and (peer := scores(results).get(DEFAULT_OF_ORT)) is not None:
        missed += ["noise_db"] if losses["noise_db"] > peer.losses["noise_db"] - row.ahead_db else []
    text = f"misses {', '.join(missed)}" if missed else "met"
    return text if result.tool != "npuopt" else f"{text}; {standing(losses, results)}"


def standing(losses: Mapping[str, float], results: Sequence[Result]) -> str:
    """Say for each loss whose is less than npuopt's."""
    better = {
        name: [tool for tool, score in scores(results).items() if score.losses[name] < loss - 1e-9]
        for name, loss in losses.items()
    }
    behind = [f"{name} behind {', '.join(tools)}" for name, tools in better.items() if tools]
    return "; ".join(behind) or "none better"


def scores(results: Sequence[Result]) -> dict[str, Score]:
    return {result.tool: result.score for result in results if result.score is not None}


def print_results(row: Row, results: Sequence[Result]) -> None:
    for result in results:
        text = result.failure.replace("|", "/")[:200] if result.score is None else result.score.text
        tool = " ".join((result.tool, *result.options))
        cells = (row.name, tool, text, verdict(row, result, results))
        print(f"| {' | '.join(cells)} | {result.cpu_seconds:.1f} | {result.peak_mebibytes:.0f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
