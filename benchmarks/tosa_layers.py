"""Compare every operator of a TOSA artifact with LiteRT's plain loops, each on the same integers.

    python -m benchmarks.tosa_layers ARTIFACT

A whole network that is not bit for bit says nothing of where it leaves: one step goes through all that follows. So each
operator of the TFLite model is cut out with its constants, converted, and computed by Arm's reference model and by
LiteRT from the integers that LiteRT computed ahead of it. The input is drawn, as it is for the manifest's
`against_litert`.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from npuopt.delegates.contract import Limits
from npuopt.delegates.litert.ports import load_ports
from npuopt.delegates.litert.region import MODEL_FILE, PORTS_FILE
from npuopt.delegates.litert.schema import FILE_IDENTIFIER, flatbuffers, generated
from npuopt.delegates.process import run_child
from npuopt.delegates.tosa.delegate import CONVERTER, TOOLCHAIN, WORKER, conformance, drawn
from npuopt.target import load_target
from npuopt.toolchain import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

Table: TypeAlias = Any
"""A table of TFLite's schema, whose generated classes carry no types."""
TARGET = "arm/tosa-1.0"
MOVED_ONLY = ("RESHAPE", "TRANSPOSE")
"""Operators that compute nothing."""
SECONDS = 1800


@dataclass(frozen=True)
class Cut:
    """One operator as a model of its own.

    Attributes:
        name: TFLite's name of the operator.
        model: the file.
        inputs: what LiteRT computed ahead of it, by place.
        wanted: what LiteRT makes of that.
    """

    name: str
    model: Path
    inputs: Path
    wanted: list[np.ndarray]


def main() -> int:
    """Print a row for each kind of operator; 1 when any differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tosa_layers", description=__doc__)
    parser.add_argument("artifact", type=Path, help=f"folder that `npuopt compile --target {TARGET}` wrote")
    arguments = parser.parse_args()
    models = sorted(arguments.artifact.rglob(MODEL_FILE))
    if not models:
        raise SystemExit(f"{arguments.artifact} holds no {MODEL_FILE}")
    shares: dict[str, list[float]] = defaultdict(list)
    steps: dict[str, int] = defaultdict(int)
    with tempfile.TemporaryDirectory(prefix="npuopt-tosa-layers-") as temporary:
        for number, model in enumerate(models):
            folder = Path(temporary) / str(number)
            folder.mkdir()
            for cut, made in computed(list(cuts(model, folder)), folder):
                for got, wanted in zip(made, cut.wanted, strict=True):
                    apart = np.abs(got.reshape(wanted.shape).astype(np.int64) - wanted.astype(np.int64))
                    shares[cut.name].append(float((apart != 0).mean()))
                    steps[cut.name] = max(steps[cut.name], int(apart.max(initial=0)))
    print("| operator | tensors | of which differ | elements that differ, mean | most steps |\n|---|---|---|---|---|")
    for name, found in sorted(shares.items()):
        differing = sum(share > 0 for share in found)
        print(f"| {name} | {len(found)} | {differing} | {float(np.mean(found)):.3%} | {steps[name]} |")
    return int(any(steps.values()))


def cuts(model: Path, folder: Path) -> Iterator[Cut]:
    """Compute a model in LiteRT's plain loops, and write each operator that computes something to `folder`."""
    read = generated.ModelT.InitFromObj(generated.Model.GetRootAs(model.read_bytes(), 0))
    inputs, _ = load_ports(model.with_name(PORTS_FILE))
    whole = interpreter(model, preserve=True)
    run(whole, drawn(inputs))
    names = {code: name for name, code in vars(generated.BuiltinOperator).items() if isinstance(code, int)}
    for number, operator in enumerate(read.subgraphs[0].operators):
        code = read.operatorCodes[operator.opcodeIndex]
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if name in MOVED_ONLY:
            continue
        alone, run_time = one_operator(read, operator)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(alone.Pack(builder), FILE_IDENTIFIER)
        file = folder / f"{number}.tflite"
        file.write_bytes(bytes(builder.Output()))
        given = [whole.get_tensor(index) for index in run_time]
        np.savez(file.with_suffix(".in.npz"), **{str(place): array for place, array in enumerate(given)})
        yield Cut(name, file, file.with_suffix(".in.npz"), run(interpreter(file), given))


def one_operator(model: Table, operator: Table) -> tuple[Table, list[int]]:
    """Return a model of one operator with its constants, and the indices of the tensors that it reads at run time."""
    tensors = model.subgraphs[0].tensors
    read = [int(index) for index in operator.inputs if index >= 0]
    kept = sorted({*read, *(int(index) for index in operator.outputs)})
    place = {index: number for number, index in enumerate(kept)}
    alone, graph = generated.ModelT(), generated.SubGraphT()
    alone.version, alone.buffers = model.version, [generated.BufferT()]
    alone.operatorCodes, alone.subgraphs = [model.operatorCodes[operator.opcodeIndex]], [graph]
    run_time: list[int] = []
    graph.tensors = []
    for index in kept:
        tensor = copy.copy(tensors[index])
        stored = model.buffers[tensor.buffer]
        tensor.buffer = 0
        if stored.data is not None and len(stored.data):
            alone.buffers.append(stored)
            tensor.buffer = len(alone.buffers) - 1
        elif index in read:
            run_time.append(index)
        graph.tensors.append(tensor)
    moved = copy.copy(operator)
    moved.opcodeIndex = 0
    moved.inputs = [place.get(int(index), -1) for index in operator.inputs]
    moved.outputs = [place[int(index)] for index in operator.outputs]
    graph.operators, graph.inputs, graph.outputs = [moved], [place[index] for index in run_time], moved.outputs
    return alone, run_time


def interpreter(model: Path, *, preserve: bool = False) -> Interpreter:
    """Open a model with LiteRT's plain loops."""
    opened = Interpreter(
        str(model),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=preserve,
    )
    opened.allocate_tensors()
    return opened


def run(opened: Interpreter, given: list[np.ndarray]) -> list[np.ndarray]:
    """Feed arrays in the order of the inputs and return the outputs."""
    for detail, array in zip(opened.get_input_details(), given, strict=True):
        opened.set_tensor(detail["index"], array)
    opened.invoke()
    return [opened.get_tensor(detail["index"]) for detail in opened.get_output_details()]


def computed(found: list[Cut], folder: Path) -> Iterator[tuple[Cut, list[np.ndarray]]]:
    """Convert every operator and compute it in Arm's reference model."""
    request = {
        "operation": "probe",
        "models": [
            {
                "name": cut.model.stem,
                "model": str(cut.model),
                "inputs": str(cut.inputs),
                "outputs": str(cut.model.with_suffix(".out.npz")),
            }
            for cut in found
        ],
        "target": conformance(load_target(TARGET)),
        "results": str(folder / "results.jsonl"),
    }
    limits, python = Limits(seconds=SECONDS), environment(TOOLCHAIN).python
    run_child(WORKER, request, log=folder / "log.txt", limits=limits, python=python).require(CONVERTER, where="")
    lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    refused = {answer["name"]: answer["refused"] for line in lines if "refused" in (answer := json.loads(line))}
    for cut in found:
        if cut.model.stem in refused:
            raise SystemExit(f"{cut.name} is refused alone: {refused[cut.model.stem]}")
        with np.load(cut.model.with_suffix(".out.npz"), allow_pickle=False) as arrays:
            yield cut, [arrays[str(place)] for place in range(len(cut.wanted))]


if __name__ == "__main__":
    sys.exit(main())
