# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in the converter's own environment, whose packages the checker does not see; nothing imports this file.
"""Converts models with Sony's IMX500 converter, and runs them in ONNX Runtime with Sony's quantizers.

Started as `python -I worker.py REQUEST ANSWER`. Imports nothing of npuopt.

Requests:
    {"operation": "convert", "model": file, "folder": for the results}
    {"operation": "run", "model": file, "inputs": [npz], "outputs": [npz to write]}
    {"operation": "probe", "models": [{"name", "model", "inputs": npz, "outputs": npz to write}],
     "results": file of JSON lines to append to, "folder": scratch}    the converter's reader alone
Arrays in an npz are called by the place of the input or output in the model.
"""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ERROR = re.compile(r"ERROR : (?:CODE: )?(.*(?:\n(?!\d{4}-|Traceback).*)*)")
"""An error and what it says on the lines behind, up to the next message."""
PLACE = re.compile(r"\s*\[/\S+:\d+\]\s*$")
"""Where in the converter's own code a line was printed."""
HEAP = "-Xmx4g"
"""Of Java, which else reserves a quarter of the machine's memory."""


def main() -> None:
    """Do what REQUEST says and write ANSWER."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = {"convert": convert, "run": run, "probe": probe}[request["operation"]](request)
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def convert(request: dict) -> dict:
    """Convert `model` into `folder`: packerOut.zip for the sensor, and what it takes of the memory there."""
    if shutil.which("java") is None:
        return {"refused": "it needs Java 17 on PATH (Debian: apt install openjdk-17-jre-headless)"}
    model, folder = Path(request["model"]), Path(request["folder"])
    started = time.perf_counter()
    command = [str(Path(sys.executable).parent / "imxconv-pt"), "--input-path", str(model), "--output-dir", str(folder)]
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    child = subprocess.run(
        [*command, "--overwrite-output", "--report-size-unit", "B"],
        cwd=folder,
        env={**settings, "JAVA_TOOL_OPTIONS": HEAP},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    printed = child.stdout.decode("utf-8", errors="replace")
    print(printed)
    report = folder / f"{model.stem}_MemoryReport.json"
    if child.returncode or not report.is_file() or not (folder / "packerOut.zip").is_file():
        said = [" ".join(PLACE.sub("", match[1]).split()) for match in ERROR.finditer(printed)]
        return {"refused": (said[0] if said else f"it ended with code {child.returncode}")[:400]}
    memory = json.loads(report.read_text(encoding="utf-8"))["Memory Report"]
    return {"memory": memory, "seconds": time.perf_counter() - started}


def run(request: dict) -> dict:
    """Run every npz of `inputs` in ONNX Runtime, where mct-quantizers computes its own operators."""
    run_model(request["model"], request["inputs"], request["outputs"])
    return {}


def run_model(model: str, inputs: list, outputs: list) -> None:
    """Run a model on every npz, and write what it makes of each."""
    import numpy as np  # noqa: PLC0415 -- not needed to convert
    import onnxruntime  # noqa: PLC0415
    from mct_quantizers import get_ort_session_options  # noqa: PLC0415

    session = onnxruntime.InferenceSession(model, get_ort_session_options(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    for given_file, made_file in zip(inputs, outputs, strict=True):
        with np.load(given_file, allow_pickle=False) as arrays:
            given = {name: arrays[str(place)] for place, name in enumerate(names)}
        made: dict[str, Any] = {str(place): array for place, array in enumerate(session.run(None, given))}
        np.savez(made_file, **made)


def probe(request: dict) -> dict:
    """Let the converter's first step, which refuses ops, read every model, and run those that it takes.

    The step takes 20 ms within one process; the others start Java and take ten seconds a model.
    """
    from uni.pytorch.main import main as read  # noqa: PLC0415 -- heavy

    said = Said()
    logging.getLogger().addHandler(said)
    with Path(request["results"]).open("a", encoding="utf-8") as results:
        for item in request["models"]:
            print(json.dumps({"started": item["name"]}), file=results, flush=True)
            said.errors.clear()
            code = read(["--input-path", item["model"], "--output-dir", request["folder"]], setup_logging=False)
            answer: dict[str, Any] = {"name": item["name"]}
            if code:
                answer["refused"] = next(iter(said.errors), "") or f"the reader ended with code {code}"
            else:
                run_model(item["model"], [item["inputs"]], [item["outputs"]])
            print(json.dumps(answer), file=results, flush=True)
    return {}


class Said(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.errors.append(record.getMessage())


if __name__ == "__main__":
    main()
