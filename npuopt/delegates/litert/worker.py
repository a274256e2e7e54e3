# pyright: basic
# ^ the interpreter carries no types; nothing imports this file.
"""Runs TFLite models in LiteRT's interpreter, as one JSON request says.

Started as `python -P worker.py REQUEST ANSWER`, always as a child process: a kernel that meets what it does not
expect ends the process. Imports nothing of npuopt, so that it also runs in an isolated environment.

Requests, with `kernels` one of reference, builtin and xnnpack:
    {"operation": "run", "model": file, "kernels", "inputs": [npz], "outputs": [npz to write]}
    {"operation": "check", "model": file, "kernels": [...]}: runs with each set, and tells the operators, times, and how
        close the sets come; only the first must run it
    {"operation": "probe", "models": [{"name", "model", "inputs": npz, "outputs": npz to write}], "kernels",
     "results": file of JSON lines to append to}
Arrays in an npz are called by the place of the input or output in the model.
"""

import json
import sys
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

RESOLVERS = {
    "reference": OpResolverType.BUILTIN_REF,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "xnnpack": OpResolverType.BUILTIN,
}
INSERTED = "DELEGATE"
"""What the interpreter calls an operator that stands for those that a delegate took over."""


def main() -> None:
    """Do what REQUEST says and write ANSWER."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = {"run": run, "check": check, "probe": probe}[request["operation"]](request)
    answer["tools"] = {"ai-edge-litert": version("ai-edge-litert")}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def open_model(path: str, kernels: str) -> Interpreter:
    """Open a model with one thread and plan its memory."""
    interpreter = Interpreter(path, experimental_op_resolver_type=RESOLVERS[kernels], num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def run(request: dict) -> dict:
    """Run every npz of `inputs`."""
    try:
        interpreter = open_model(request["model"], request["kernels"])
        seconds = [
            run_once(interpreter, inputs, outputs)
            for inputs, outputs in zip(request["inputs"], request["outputs"], strict=True)
        ]
    except (RuntimeError, ValueError) as error:
        return {"refused": str(error)}
    return {"seconds": seconds}


def run_once(interpreter: Interpreter, inputs: str, outputs: str) -> float:
    """Feed one npz, write the outputs to another, and return the seconds that the run took."""
    with np.load(inputs, allow_pickle=False) as arrays:
        for place, detail in enumerate(interpreter.get_input_details()):
            interpreter.set_tensor(detail["index"], arrays[str(place)])
    started = time.perf_counter()
    interpreter.invoke()
    seconds = time.perf_counter() - started
    made = [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
    np.savez(outputs, allow_pickle=False, **{str(place): np.asarray(array) for place, array in enumerate(made)})
    return seconds


def check(request: dict) -> dict:
    """Run with every set of kernels on the same seeded inputs; tell the operators, the times and the worst cosine."""
    sets: dict = {}
    outputs: list = []
    for kernels in request["kernels"]:
        try:
            sets[kernels], made = try_kernels(request["model"], kernels)
        except (RuntimeError, ValueError) as error:
            if not outputs:
                return {"refused": str(error)}
            sets[kernels] = {"refused": " ".join(str(error).split())[:300]}
        else:
            outputs.append(made)
    plain = Interpreter(request["model"], experimental_op_resolver_type=RESOLVERS["builtin"])
    operators = Counter(detail["op_name"] for detail in plain._get_ops_details())  # noqa: SLF001 -- no public list
    pairs = [pair for other in outputs[1:] for pair in zip(outputs[0], other, strict=True)]
    return {
        "operators": dict(operators),
        "outputs": [[int(size) for size in array.shape] for array in outputs[0]],
        "sets": sets,
        "cosine": min((cosine(one, other) for one, other in pairs), default=None),
    }


def try_kernels(model: str, kernels: str) -> tuple:
    """Run a model twice on seeded inputs; return the time of the second run, and the outputs."""
    interpreter = open_model(model, kernels)
    random = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], drawn(random, detail))
    interpreter.invoke()
    started = time.perf_counter()
    interpreter.invoke()
    seconds = time.perf_counter() - started
    names = [detail["op_name"] for detail in interpreter._get_ops_details()]  # noqa: SLF001 -- no public list
    made = [np.asarray(interpreter.get_tensor(detail["index"])) for detail in interpreter.get_output_details()]
    return {"seconds": seconds, "delegated": INSERTED in names}, made


def drawn(random: np.random.Generator, detail: dict) -> np.ndarray:
    """Return data for an input: normal numbers, any quantized number, and zeros for indices and truth values."""
    dtype, shape = np.dtype(detail["dtype"]), detail["shape"]
    if dtype.kind == "f":
        return random.normal(size=shape).astype(dtype)
    if dtype.itemsize <= 2 and dtype.kind == "i":
        limits = np.iinfo(dtype)
        return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return np.zeros(shape, dtype)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Return the cosine between two arrays: 1 where they are equal, 0 where a number is not finite in one only."""
    if np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
        return 1.0
    left, right = one.astype(np.float64).reshape(-1), other.astype(np.float64).reshape(-1)
    size = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / size if np.isfinite(size) and size else 0.0


def probe(request: dict) -> dict:
    """Run every model; each answer is a line of `results` at once, so that a crash loses only its model."""
    with Path(request["results"]).open("a", encoding="utf-8") as results:
        for item in request["models"]:
            results.write(json.dumps({"started": item["name"]}) + "\n")
            results.flush()
            answer: dict = {}
            try:
                run_once(open_model(item["model"], request["kernels"]), item["inputs"], item["outputs"])
            except (RuntimeError, ValueError) as error:
                answer["refused"] = str(error)
            results.write(json.dumps({"name": item["name"], **answer}) + "\n")
            results.flush()
    return {}


if __name__ == "__main__":
    main()
