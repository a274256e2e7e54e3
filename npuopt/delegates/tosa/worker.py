# pyright: basic, reportMissingImports=false
# ^ runs in the TOSA tools' own environment, whose packages the checker does not see; nothing imports this file.
"""Makes TOSA flatbuffers of TFLite models and runs them in the reference model, as one JSON request says.

Started as `python -I worker.py REQUEST ANSWER`, always as a child process. Imports nothing of npuopt.

Requests:
    {"operation": "compile", "model": TFLite file, "result": file to write, "target": options of tosa-attach-target}
    {"operation": "run", "model": TOSA file, "inputs": [npz], "outputs": [npz to write]}
    {"operation": "probe", "models": [{"name", "model", "inputs": npz, "outputs": npz to write}], "target",
     "results": file of JSON lines to append to}: makes a flatbuffer of each TFLite file and runs it
Arrays in an npz are called by the place of the input or output in the model.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import distribution, version
from pathlib import Path

import numpy as np
from tosa.Op import Op
from tosa.TosaGraph import TosaGraph
from tosa_converter_for_tflite import TosaConverterDebugInfo, TosaConverterOutputFormat, tflite_flatbuffer_to_tosa_mlir

PROGRAMS = Path(str(distribution("tosa-tools").locate_file("bin")))
NAMES = {code: name for name, code in vars(Op).items() if isinstance(code, int)}
SAID_CHARACTERS = 300
REFUSALS = (RuntimeError, ValueError, OSError, KeyError)


def main() -> None:
    """Do what REQUEST says and write ANSWER."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = {"compile": compile_model, "run": run, "probe": probe}[request["operation"]](request)
    answer["tools"] = {name: version(name) for name in ("tosa-tools", "tosa-converter-for-tflite")}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def compile_model(request: dict) -> dict:
    """Convert, validate and serialize `model`."""
    started = time.perf_counter()
    try:
        operators = serialize(request["model"], request["result"], request["target"])
    except REFUSALS as error:
        return {"refused": short(str(error))}
    return {"operators": operators, "seconds": time.perf_counter() - started}


def serialize(model: str, result: str, target: str) -> dict:
    """Write a TFLite file as a TOSA flatbuffer that conforms to a target; return how many operators of each it has."""
    with tempfile.TemporaryDirectory() as scratch:
        converted = str(Path(scratch) / "model.mlirbc")
        tflite_flatbuffer_to_tosa_mlir(
            model, converted, TosaConverterOutputFormat.Bytecode, TosaConverterDebugInfo.Disabled
        )
        passes = [f"--tosa-attach-target={target}", "--tosa-validate=strict-op-spec-alignment"]
        passes += [f"--tosa-serialize=tosa-flatbuffer-filename={result}"]
        call("tosa-opt", [converted, *passes, "-o", str(Path(scratch) / "after.mlir")])
    found: Counter = Counter()
    for block in blocks(result):
        found.update(NAMES[block.Operators(place).Op()] for place in range(block.OperatorsLength()))
    return dict(found)


def blocks(path: str):  # noqa: ANN201 -- a generator of the package's own tables
    """Yield the basic blocks of a TOSA file."""
    graph = TosaGraph.GetRootAs(Path(path).read_bytes(), 0)
    for place in range(graph.RegionsLength()):
        region = graph.Regions(place)
        for number in range(region.BlocksLength()):
            yield region.Blocks(number)


def run(request: dict) -> dict:
    """Run every npz of `inputs`."""
    try:
        for inputs, outputs in zip(request["inputs"], request["outputs"], strict=True):
            run_once(request["model"], inputs, outputs)
    except REFUSALS as error:
        return {"refused": short(str(error))}
    return {}


def run_once(model: str, inputs: str, outputs: str) -> None:
    """Feed one npz to the reference model and write what it makes to another."""
    block = next(blocks(model))
    given = [block.Inputs(place).decode() for place in range(block.InputsLength())]
    made = [block.Outputs(place).decode() for place in range(block.OutputsLength())]
    with tempfile.TemporaryDirectory() as scratch, np.load(inputs, allow_pickle=False) as arrays:
        folder = Path(scratch)
        for place in range(len(given)):
            np.save(folder / f"in{place}.npy", arrays[str(place)])
        edge = {"ifm_name": given, "ofm_name": made}
        edge["ifm_file"] = [f"in{place}.npy" for place in range(len(given))]
        edge["ofm_file"] = [f"out{place}.npy" for place in range(len(made))]
        options = [f"--{name}={','.join(items)}" for name, items in edge.items()]
        where = [f"--flatbuffer_dir={folder}", f"--output_dir={folder}", f"--tosa_file={Path(model).resolve()}"]
        call("tosa_reference_model", [*where, *options])
        results = [np.load(folder / f"out{place}.npy", allow_pickle=False) for place in range(len(made))]
    np.savez(outputs, **{str(place): array for place, array in enumerate(results)})


def probe(request: dict) -> dict:
    """Make and run every model; each answer is a line of `results` at once, so that a crash loses only its model."""
    with Path(request["results"]).open("a", encoding="utf-8") as results:
        for item in request["models"]:
            results.write(json.dumps({"started": item["name"]}) + "\n")
            results.flush()
            answer: dict = {}
            try:
                made = str(Path(item["model"]).with_suffix(".tosa"))
                serialize(item["model"], made, request["target"])
                run_once(made, item["inputs"], item["outputs"])
            except REFUSALS as error:
                answer["refused"] = short(str(error))
            results.write(json.dumps({"name": item["name"], **answer}) + "\n")
            results.flush()
    return {}


def call(program: str, arguments: list) -> None:
    """Run one of the package's programs; what it complains of is the error."""
    done = subprocess.run([str(PROGRAMS / program), *arguments], capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise RuntimeError(" ".join([*said[:1], f"({program} ended with code {done.returncode})"]))


def short(text: str) -> str:
    """Return the part of a complaint that fits into a sentence."""
    return " ".join(text.split())[:SAID_CHARACTERS]


if __name__ == "__main__":
    main()
