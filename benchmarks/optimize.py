"""npuopt and other optimizers side by side: CPU time, peak memory and nodes left, of whole processes.

    python -m benchmarks.optimize [MODEL ...] [--tools TOOL ...] [--rounds 3] [--seconds 120] [--memory 16]
                                  [--gibibytes 4] [--json]

npuopt runs all of clean and fuse with `--verify off`, the others what they do by default. On each model the tools take
turns, round by round; the least CPU time and the largest peak memory of a tool count, as the operating system tells
them of the ended process. A tool that runs out of time or memory is not run again on that model, and one that ran out
of time not on a larger one of the same making. The peers get an environment of their own (benchmarks/peers.txt), made
on the first run. `make models` brings the trained models, `python -m benchmarks.export_transformers` bert12 and
llama12.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import onnx

from benchmarks import synthetic
from benchmarks.location import EXAMPLES, models_folder
from tools.models.environment import environment_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HERE = Path(__file__).parent
MEASURED = HERE / "measured.py"
PEERS = ("onnxslim", "onnxsim", "onnxoptimizer", "onnxscript", "ort-basic", "ort-transformers")
GENERATED: dict[str, Callable[[Path], None]] = {
    **{f"transformer-{n}": lambda path, n=n: synthetic.transformer(path, n) for n in (1000, 10000, 50000)},
    **{f"chain-{n}": lambda path, n=n: synthetic.chain(path, n) for n in (10000, 50000)},
}
EXTERNAL = "external-weights"
FETCHED = (
    "bert12",
    "bert12_dynamo",
    "llama12",
    "llama12_dynamo",
    "minilm",
    "efficientnet_lite0",
    "ppocr_rec",
    "silero",
)
LIGHT_FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
LIGHT = tuple(sorted(path.stem for path in LIGHT_FOLDER.glob("*.onnx")))
"""CNNs of the onnx package whose weights are nodes that fill them with one number."""

OUT_OF_MEMORY = (b"MemoryError", b"bad_alloc", b"Cannot allocate memory", b"Failed to allocate memory")


@dataclass
class Measured:
    """One tool on one model.

    Attributes:
        tool: its name.
        cpu_seconds: user and system time of the process, the least of all rounds.
        peak_mebibytes: the largest resident set of all rounds.
        nodes: left in the model, subgraphs included; None when the tool made none.
        why: it made none: its limits, or that it fails.
        ops: how many nodes of each type are left.
    """

    tool: str
    cpu_seconds: float = float("inf")
    peak_mebibytes: float = 0.0
    nodes: int | None = None
    ops: Mapping[str, int] | None = None
    why: str = ""


def main() -> None:
    arguments = parse_arguments()
    python = environment_python(models_folder() / ".optimizers", HERE / "peers.txt") if arguments.tools else Path()
    slow: dict[str, list[Measured]] = {}
    with tempfile.TemporaryDirectory(prefix="npuopt-benchmark-", dir=arguments.folder) as folder:
        for name in arguments.models:
            path = find_model(name, Path(folder), arguments.gibibytes)
            if path is None:
                print(f"{name}: not there", file=sys.stderr)
                continue
            making = name.rpartition("-")[0] if name in GENERATED else name
            rows = compare(path, arguments, python, Path(folder), slow.get(making, []))
            slow[making] = [row for row in rows if row.why.startswith("over") and row.why.endswith(" s")]
            print_rows(name, path, rows, as_json=arguments.json)
            if path.is_relative_to(folder):
                remove(path)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare npuopt with other optimizers.")
    known = [*GENERATED, EXTERNAL, "fashion_mnist", *FETCHED, *LIGHT]
    parser.add_argument("models", nargs="*", default=known, metavar="MODEL", help=", ".join(known))
    parser.add_argument("--tools", nargs="*", default=PEERS, choices=PEERS, metavar="TOOL", help=", ".join(PEERS))
    parser.add_argument("--rounds", type=int, default=3, help="runs of each tool")
    parser.add_argument("--seconds", type=int, default=120, help="CPU time that a run may take")
    parser.add_argument("--memory", type=float, default=16.0, help="GiB of address space that a run may take")
    parser.add_argument("--gibibytes", type=float, default=4.0, help=f"weights of {EXTERNAL}")
    parser.add_argument("--folder", type=Path, help="for models and results; needs room for a copy of all weights")
    parser.add_argument("--json", action="store_true", help="one JSON document a model")
    return parser.parse_args()


def find_model(name: str, folder: Path, gibibytes: float) -> Path | None:
    """Return the model's file, made anew if it is a synthetic one, or None where it was not fetched."""
    path = folder / f"{name}.onnx"
    if name in GENERATED:
        GENERATED[name](path)
    elif name == EXTERNAL:
        synthetic.external(path, round(gibibytes * 1024))
    elif name in LIGHT:
        path = LIGHT_FOLDER / f"{name}.onnx"
    else:
        path = (EXAMPLES if name == "fashion_mnist" else models_folder()) / name / "model.onnx"
    return path if path.is_file() else None


def compare(
    path: Path, arguments: argparse.Namespace, python: Path, folder: Path, slow: Sequence[Measured] = ()
) -> list[Measured]:
    """Let the tools take turns on one model; those that are too slow for a smaller one stay what they were there."""
    found = {tool: Measured(tool) for tool in ("npuopt", *arguments.tools)}
    found.update({row.tool: row for row in slow})
    output, log = folder / "optimized.onnx", folder / "errors.txt"
    for _ in range(arguments.rounds):
        for tool, measured in found.items():
            if measured.why:
                continue
            with log.open("wb") as errors:
                called = command(tool, path, output, python)
                cpu, peak, succeeded = run(called, arguments.seconds, errors, arguments.memory)
            measured.cpu_seconds = min(measured.cpu_seconds, cpu)
            measured.peak_mebibytes = max(measured.peak_mebibytes, peak)
            measured.ops = count_ops(output) if succeeded and output.is_file() else None
            measured.nodes = None if measured.ops is None else sum(measured.ops.values())
            if measured.nodes is None:
                measured.why = why_not(cpu, log.read_bytes(), arguments)
            remove(output)
    return list(found.values())


def why_not(cpu: float, errors: bytes, arguments: argparse.Namespace) -> str:
    """Say why a tool made no model."""
    if cpu > 0.8 * arguments.seconds:  # the system looks at the limit now and then
        return f"over {arguments.seconds} s"
    return f"over {arguments.memory:g} GiB" if any(words in errors for words in OUT_OF_MEMORY) else "fails"


def command(tool: str, path: Path, output: Path, python: Path) -> list[str]:
    if tool == "npuopt":
        return [sys.executable, "-m", "npuopt", "optimize", str(path), "-o", str(output), "--verify", "off"]
    return [str(python), str(HERE / "peer.py"), tool, str(path), str(output)]


def run(
    arguments: Sequence[str], seconds: int, errors: BinaryIO | int = subprocess.DEVNULL, gibibytes: float = 64.0
) -> tuple[float, float, bool]:
    """Run a command with one thread and say how much CPU time (s) and memory (MiB) it took, and whether it ended well.

    Its CPU time and address space are limited by the operating system; its standard error goes to `errors`.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = {**kept, "OMP_NUM_THREADS": "1"}  # all tools may keep their compiled modules
    command = [sys.executable, "-I", "-S", str(MEASURED), str(seconds), str(round(gibibytes * 2**30)), *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=errors, check=True)
    cpu, peak, code = json.loads(done.stdout)
    return cpu, peak, code == 0


def count_ops(path: Path) -> dict[str, int]:
    graph = onnx.load(path, load_external_data=False).graph
    return dict(Counter(node.op_type for node in all_nodes(graph)).most_common())


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for subgraph in (attribute.g, *attribute.graphs):
                yield from all_nodes(subgraph)


def print_rows(name: str, path: Path, rows: Sequence[Measured], *, as_json: bool) -> None:
    weights = sum(file.stat().st_size for file in (path, data_of(path)) if file.is_file()) / 2**20
    if as_json:
        print(json.dumps({"model": name, "mebibytes": weights, "tools": [asdict(row) for row in rows]}), flush=True)
        return
    ours = rows[0]
    print(f"\n### {name}: {sum(count_ops(path).values())} nodes, {weights:.0f} MiB")
    print("| tool | CPU s | npuopt / it | peak MiB | peak / file | nodes |\n|---|---|---|---|---|---|")
    for row in rows:
        ratio = f"{ours.cpu_seconds / row.cpu_seconds:.2f}"
        share = f"{row.peak_mebibytes / weights:.2f}" if weights > 100 else ""
        nodes = row.why if row.nodes is None else row.nodes
        print(f"| {row.tool} | {row.cpu_seconds:.1f} | {ratio} | {row.peak_mebibytes:.0f} | {share} | {nodes} |")
    sys.stdout.flush()


def remove(path: Path) -> None:
    for file in (path, data_of(path)):
        file.unlink(missing_ok=True)


def data_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.data")


if __name__ == "__main__":
    main()
