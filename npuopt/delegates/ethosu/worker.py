# pyright: basic, reportMissingImports=false
# ^ runs in Vela's own environment, whose packages the checker does not see; nothing imports this file.
"""Compiles TFLite models with Vela, as one JSON request says.

Started as `python -I worker.py REQUEST ANSWER`, always as a child process: on some models Vela crashes. Imports nothing
of npuopt. What is left for the processor is read from the compiled file itself, the reasons from what Vela prints.

Requests, with `options` (Vela's command line without the model):
    {"operation": "compile", "model": file, "folder": for the results}
    {"operation": "probe", "models": [{"name", "model"}], "folder": scratch, "results": file of JSON lines to append to}
"""

import contextlib
import csv
import json
import os
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path

from ethosu.vela import vela
from ethosu.vela.tflite.BuiltinOperator import BuiltinOperator
from ethosu.vela.tflite.Model import Model

WARNING = re.compile(
    r"Warning \(supported operators\) operator: (\w+), ofm: '([^']*)'\n((?:Reason:|[ \t]+).*(?:\n[ \t].*)*)"
)
COMPLAINT = re.compile(r"^[A-Z(].*\b(must|not supported|cannot|only supported)\b.*$", re.MULTILINE)
"""A constraint that Vela prints without the operator that breaks it."""
NAMES = {code: name for name, code in vars(BuiltinOperator).items() if isinstance(code, int)}
CUSTOM = BuiltinOperator.CUSTOM


def main() -> None:
    """Do what REQUEST says and write ANSWER."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = {"compile": compile_model, "probe": probe}[request["operation"]](request)
    answer["tools"] = {"ethos-u-vela": version("ethos-u-vela")}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def compile_model(request: dict) -> dict:
    """Compile `model` into `folder`."""
    started = time.perf_counter()
    answer, printed = run_vela(request["model"], request["folder"], request["options"])
    print(printed)
    if "refused" in answer:
        return answer
    [summary] = Path(request["folder"]).glob("*_summary_*.csv")
    with summary.open(newline="", encoding="utf-8") as file:
        [row] = csv.DictReader(file)
    return {**answer, "summary": row, "summary_file": summary.name, "seconds": time.perf_counter() - started}


def probe(request: dict) -> dict:
    """Compile every model; each answer is a line of `results` at once, so that a crash loses only its model."""
    with Path(request["results"]).open("a", encoding="utf-8") as results:
        for item in request["models"]:
            results.write(json.dumps({"started": item["name"]}) + "\n")
            results.flush()
            answer, _ = run_vela(item["model"], request["folder"], request["options"])
            results.write(json.dumps({"name": item["name"], **answer}) + "\n")
            results.flush()
    return {}


def run_vela(model: str, folder: str, options: list) -> tuple:
    """Run Vela on one model: what is left for the processor and why, or its refusal; and what it printed."""
    refused = ""
    with captured(Path(folder) / "vela.log") as log:
        try:
            if code := vela.main([model, "--output-dir", folder, *options]):
                refused = f"it ended with code {code}"
        except SystemExit as ending:
            refused = f"it ended with code {ending.code}" if ending.code else ""
        except Exception as error:  # noqa: BLE001 -- whatever Vela throws is its refusal
            refused = f"{type(error).__name__}: {error}"
    printed = log.read_text(encoding="utf-8", errors="replace")
    if refused:
        said = [line for line in printed.splitlines() if line.startswith(("Error", "Exception"))]
        return {"refused": " ".join([*said[-1:], refused])}, printed
    compiled = Path(folder) / f"{Path(model).stem}_vela.tflite"
    return {"operators": operators(compiled), "reasons": reasons(printed), "compiled": compiled.name}, printed


@contextlib.contextmanager
def captured(log: Path):  # noqa: ANN201 -- a generator of one path
    """Send stdout and stderr to a file, those of Vela's C++ half too."""
    saved = [os.dup(1), os.dup(2)]
    sys.stdout.flush()
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield log
        finally:
            sys.stdout.flush()
            for place, descriptor in enumerate(saved, start=1):
                os.dup2(descriptor, place)
                os.close(descriptor)


def operators(path: Path) -> list:
    """List [operator, [name of each output]] of a TFLite file; `ethos-u` is what runs on the NPU."""
    model = Model.GetRootAsModel(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    found = []
    for place in range(graph.OperatorsLength()):
        operator = graph.Operators(place)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = code.CustomCode().decode() if kind == CUSTOM else NAMES.get(kind, str(kind))
        made = [operator.Outputs(index) for index in range(operator.OutputsLength())]
        found.append([name, [graph.Tensors(index).Name().decode() for index in made]])
    return found


def reasons(printed: str) -> dict:
    """Return why operators are left for the processor, by the name of their output; "" has what names none."""
    found = {tensor: " ".join(why.replace("Reason:", "").split()) for _, tensor, why in WARNING.findall(printed)}
    unnamed = COMPLAINT.search(WARNING.sub("", printed))
    return {**({"": unnamed[0]} if unnamed else {}), **found}


if __name__ == "__main__":
    main()
