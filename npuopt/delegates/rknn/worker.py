# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in the toolkit's own environment, whose packages the checker does not see; nothing imports this file.
"""Builds and simulates ONNX models with RKNN-Toolkit2, as one JSON request says.

Started as `python -I worker.py REQUEST ANSWER`, always as a child process: the toolkit aborts and hangs on some models.
Imports nothing of npuopt. The toolkit's return codes say little; what counts is the table that it prints.

Requests, with `platform`, the toolkit's name of the chip, `folder` for its log and, if some are, `without`: rules that
the toolkit is not to apply:
    {"operation": "build", "model": file, "output": file.rknn}
    {"operation": "simulate", "model": file, "inputs": [npz], "outputs": [npz to write], "shapes": of each output}
    {"operation": "layers", "model": file, "names": of the outputs, "inputs": npz, "outputs": npz to write}
    {"operation": "probe", "models": [{"name", "model", "inputs", "shapes", "outputs"}], "results": file of JSON lines}
Arrays in an npz are called by the place of the input or output in the model.
"""

import contextlib
import ctypes
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ROW = re.compile(
    r"\] (?P<place>\d+) +(?P<kind>\S+) +(?P<type>\S+) +(?P<target>\S+) +\S+ +\S+ +"
    r"(?P<dram>\d+)/(?P<npu>\d+)/(?P<total>\d+) +(?:\d+% +)?(?P<traffic>[\d.]+) +(?P<name>.*?) *$",
    re.MULTILINE,
)
TABLE = re.compile(r"Network Layer Information Table(.*?)<<<<<<<<", re.DOTALL)
MEMORY_KINDS = ("Internal", "Weight")
MEMORY = re.compile(rf"Total ({'|'.join(MEMORY_KINDS)}) Memory Size: ([\d.]+)(KB|MB|B)")
NOT_LOWERED = re.compile(r"No lowering found for: (.*?), node type = (\w+)")
REFUSAL = re.compile(r"\bE\S*\s+(?:\S*m)?((?:build|load_onnx|config|init_runtime|inference)[^\n]*|.*not support[^\n]*)")
ERROR = re.compile(r"Traceback \(most recent call last\):\n(?: .*\n)*(\w+: [^\n]*)")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
MOST_SECONDS = 8
"""For one question of a probe, which takes 0.2; on some the toolkit never ends. The alarm ends the process, and another
one is asked the questions behind it."""
LINE_BUFFERED = 1
"""C's _IOLBF: whole lines go to the file, so that those of the Python and the C++ half do not cut each other."""
UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20}


Tool = Any
"""An RKNN object."""


class NoTorch(MetaPathFinder, Loader):
    """Answers for torch: the package imports it for one algorithm that npuopt never asks for, at 3 GB on disk."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find torch and what is in it."""
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] == "torch" else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return a module whose classes are empty and whose functions decorate with nothing."""
        module = ModuleType(spec.name)
        module.__dict__["no_grad"] = lambda: lambda function: function
        module.__dict__["Module"] = object
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: all is there."""


def main() -> None:
    """Do what REQUEST says and write ANSWER."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.chdir(request["folder"])  # the toolkit leaves files of its own where it is
    sys.meta_path.insert(0, NoTorch())
    library = ctypes.CDLL(None)
    library.setvbuf(ctypes.c_void_p.in_dll(library, "stdout"), None, LINE_BUFFERED, ctypes.c_size_t(0))
    answer = {"build": build, "simulate": simulate, "layers": layers, "probe": probe}[request["operation"]](request)
    answer["tools"] = {"rknn-toolkit2": version("rknn-toolkit2")}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def build(request: dict) -> dict:
    """Build `model` into `output`, and tell where each layer went."""
    started = time.perf_counter()
    answer, printed = run(request, request["model"], lambda tool: tool.export_rknn(request["output"]))
    print(printed)
    if "refused" not in answer:
        answer.update(read_log(printed))
    return {**answer, "seconds": time.perf_counter() - started}


def simulate(request: dict) -> dict:
    """Run every npz of `inputs` in the simulator."""

    def run_all(tool: Tool) -> int:
        code = tool.init_runtime()
        for given, made in zip(request["inputs"], request["outputs"], strict=True):
            infer(tool, given, made, request["shapes"])
        return code

    answer, printed = run(request, request["model"], run_all)
    print(printed)
    return answer


def layers(request: dict) -> dict:
    """Run the npz `inputs` once and write the outputs that are left: some inner ones the toolkit fuses away.

    The simulator returns what is left without names, in the order of the model; the table of layers has the names.
    """
    found: list = []

    def run_once(tool: Tool) -> int:
        code = tool.init_runtime()
        found.extend(simulated(tool, request["inputs"]))
        return code

    answer, printed = run(request, request["model"], run_once)
    print(printed)
    if "refused" in answer:
        return answer
    left = {
        row["name"].partition(":")[2] for row in read_log(printed).get("layers", ()) if row["kind"] == "OutputOperator"
    }
    names = [name for name in request["names"] if name in left]
    if len(names) != len(found):
        return {"refused": f"the simulator returned {len(found)} outputs, its table has {len(names)}"}
    by_place: dict[str, Any] = {str(place): one for place, one in enumerate(found)}
    np.savez(request["outputs"], **by_place)
    return {"names": names}


def probe(request: dict) -> dict:
    """Build and run every model; each answer is a line of `results` at once, so that a crash loses only its model."""
    with Path(request["results"]).open("a", encoding="utf-8") as results:
        for item in request["models"]:
            results.write(json.dumps({"started": item["name"]}) + "\n")
            results.flush()
            signal.alarm(MOST_SECONDS)
            answer, printed = run(request, item["model"], lambda tool, item=item: infer_one(tool, item))
            if "refused" not in answer:
                answer.update(read_log(printed))
            signal.alarm(0)
            results.write(json.dumps({"name": item["name"], **answer}) + "\n")
            results.flush()
    return {}


def infer_one(tool: Tool, item: dict) -> int:
    """Run one sample of a question."""
    code = tool.init_runtime()
    infer(tool, item["inputs"], item["outputs"], item["shapes"])
    return code


def infer(tool: Tool, given: str, made: str, shapes: list) -> None:
    """Run the arrays of the npz `given`, in order, and write the outputs to the npz `made`.

    The simulator gives outputs of few dimensions further ones of 1; with as many elements they get their shapes back.
    """
    found = simulated(tool, given)
    if len(found) != len(shapes):
        raise RuntimeError(f"the simulator returned {len(found)} of {len(shapes)} outputs")
    by_place: dict[str, Any] = {}
    for place, (one, shape) in enumerate(zip(found, shapes, strict=True)):
        by_place[str(place)] = one.reshape(shape) if one.size == np.prod(shape, dtype=int) else one
    np.savez(made, **by_place)


def simulated(tool: Tool, given: str) -> list:
    """Run the arrays of the npz `given` in the simulator."""
    arrays = arrays_of(given)
    layouts = ["nchw"] * len(arrays) if any(array.ndim == 4 for array in arrays) else None  # None in it is an error
    found = tool.inference(inputs=arrays, data_format=layouts)
    if found is None:
        raise RuntimeError("the simulator returned nothing")
    return [np.asarray(one) for one in found]


def arrays_of(path: str) -> list:
    """Read the arrays of an npz that are called by their place."""
    with np.load(path, allow_pickle=False) as arrays:
        return [arrays[str(place)] for place in range(len(arrays.files))]


def run(request: dict, model: str, then: Callable[[Tool], int]) -> tuple:
    """Load and build a model and do what comes after; return the refusal, if any, and what the toolkit printed."""
    from rknn.api import RKNN  # noqa: PLC0415 -- only now does it find what it takes for torch

    code, thrown = 0, ""
    with captured(Path(request["folder"]) / "toolkit.log") as log:
        tool = RKNN(verbose=True)
        try:
            tool.config(target_platform=request["platform"], disable_rules=request.get("without", []))
            for step in (
                lambda: tool.load_onnx(model=model),
                lambda: tool.build(do_quantization=False),
                lambda: then(tool),
            ):
                if code := step() or 0:
                    break
        except Exception as error:  # noqa: BLE001 -- whatever the toolkit throws is its refusal
            thrown = f"{type(error).__name__}: {error}"
        finally:
            tool.release()
    printed = log.read_text(encoding="utf-8", errors="replace")
    if not thrown and not code:
        return {}, printed
    plain = COLOURS.sub("", printed)
    said = [match[1].strip() for match in (*ERROR.finditer(plain), *REFUSAL.finditer(plain))]
    return {"refused": (said[0] if said else thrown or f"code {code}")[:400]}, printed


def read_log(printed: str) -> dict:
    """Read the table of layers, the sizes of memory, and the nodes that were handed to the processor in silence."""
    tables = TABLE.findall(printed)
    layers = [row.groupdict() for row in ROW.finditer(tables[-1])] if tables else []
    if not layers or [int(layer["place"]) for layer in layers] != list(range(len(layers))):
        return {"refused": "its table of layers, which tells where each one runs, is missing or has gaps"}
    if len(MEMORY.findall(printed)) < len(MEMORY_KINDS):
        return {"refused": "it says nothing of the memory that it takes"}
    memory = {name.lower(): round(float(size) * UNITS[unit]) for name, size, unit in MEMORY.findall(printed)}
    return {"layers": layers, "memory": memory, "not_lowered": [list(pair) for pair in NOT_LOWERED.findall(printed)]}


@contextlib.contextmanager
def captured(log: Path):  # noqa: ANN201 -- a generator of one path
    """Send stdout and stderr to a file, those of the toolkit's C++ half too."""
    saved = [os.dup(1), os.dup(2)]
    sys.stdout.flush()
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield log
        finally:
            sys.stdout.flush()
            ctypes.CDLL(None).fflush(None)  # the C++ half's table would else come out with the next model's
            for place, descriptor in enumerate(saved, start=1):
                os.dup2(descriptor, place)
                os.close(descriptor)


if __name__ == "__main__":
    main()
