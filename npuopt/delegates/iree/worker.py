# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; nothing imports this file.
"""Talks to IREE: compiles an ONNX model, runs a compiled module or probes, as one JSON request says.

Started as `python -P worker.py REQUEST ANSWER`, always as a child process. Imports nothing of npuopt.

Requests:
    {"operation": "compile", "model": ONNX file, "output": module to write, "triple": LLVM's, "cpu": LLVM's,
     "features": [LLVM's]}
    {"operation": "run", "model": module, "function": name, "inputs": [npz], "outputs": [npz to write]}
    {"operation": "probe", "triple", "cpu", "features", "models": [{"name", "model", "inputs": npz,
     "outputs": npz to write}], "results": file of JSON lines to append to}
Arrays in an npz are called by their position.
"""

import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from iree import runtime
from iree.compiler.api import Output, Session, Source
from iree.compiler.extras import onnx_importer

STANDARD = ("", "ai.onnx")
MOST_SAID = 600
"""Characters kept of what the compiler prints about a model that it refuses."""


class RefusalError(Exception):
    """What IREE says against a model."""


def main() -> None:
    """Do what REQUEST says and write ANSWER."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = {"compile": compile_model, "run": run, "probe": probe}[request["operation"]](request)
    answer["tools"] = {name: version(name) for name in ("iree-base-compiler", "iree-base-runtime")}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def compile_model(request: dict) -> dict:
    """Import an ONNX model and compile it for a processor."""
    started = time.perf_counter()
    try:
        module, function = compiled(onnx.load(request["model"]), request)
    except RefusalError as refusal:
        return {"refused": str(refusal)}
    Path(request["output"]).write_bytes(module)
    return {"function": function, "seconds": time.perf_counter() - started}


def compiled(model: onnx.ModelProto, request: dict) -> tuple[bytes, str]:
    """Return a module's bytes and the name of its function.

    Raises:
        RefusalError: the importer has no way to write a node, or the compiler failed.
    """
    for node in model.graph.node:
        if node.domain not in STANDARD:
            raise RefusalError(f"{node.domain}::{node.op_type} is of another domain, and IREE reads the op's name only")
    try:
        imported = onnx_importer.ModelInfo(onnx.shape_inference.infer_shapes(model, data_prop=True))
        operation = imported.create_module().operation
        onnx_importer.NodeImporter.define_function(imported.main_graph, operation).import_all()
        text = io.BytesIO()
        operation.write_bytecode(text)  # dialects of the importer and of the compiler are not of one library
    except Exception as error:
        raise RefusalError(f"{type(error).__name__}: {error}") from error
    session = Session()
    session.set_flags(
        "--iree-input-type=onnx",
        "--iree-hal-target-device=local",
        "--iree-hal-local-target-device-backends=llvm-cpu",
        f"--iree-llvmcpu-target-triple={request['triple']}",
        f"--iree-llvmcpu-target-cpu={request['cpu']}",
        *([f"--iree-llvmcpu-target-cpu-features={','.join(request['features'])}"] if request["features"] else []),
    )
    with what_is_printed() as printed, session.invocation() as invocation:
        invocation.enable_console_diagnostics()
        done = invocation.parse_source(Source.wrap_buffer(session, text.getvalue())) and invocation.execute()
        if done:
            output = Output.open_membuffer()
            invocation.output_vm_bytecode(output)
            return bytes(output.map_memory()), model.graph.name
    raise RefusalError(first_error("".join(printed)))


@contextmanager
def what_is_printed() -> Iterator[list]:
    """Collect what is written to stderr, by C++ too; the list has it afterwards."""
    said: list = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            text = file.read().decode(errors="replace")
            said.append(text)
            sys.stderr.write(text)


def first_error(text: str) -> str:
    """Return the compiler's first error, without the module that it prints behind it."""
    lines = [line for line in text.splitlines() if "error:" in line]
    return (lines[0].partition("error:")[2].strip() if lines else text.strip())[:MOST_SAID] or "the compiler failed"


def run(request: dict) -> dict:
    """Run every npz of `inputs`."""
    module = Path(request["model"]).read_bytes()
    try:
        call = loaded(module, request["function"])
        for inputs, outputs in zip(request["inputs"], request["outputs"], strict=True):
            run_once(call, inputs, outputs)
    except Exception as error:  # noqa: BLE001 -- as above
        return {"refused": str(error)}
    return {}


def loaded(module: bytes, function: str) -> Callable:
    """Load a module for this processor, single-threaded, and return its function."""
    config = runtime.Config("local-sync")
    return runtime.load_vm_module(runtime.VmModule.copy_buffer(config.vm_instance, module), config)[function]


def run_once(call: Callable, inputs: str, outputs: str) -> None:
    """Feed one npz and write what comes out to another."""
    with np.load(inputs, allow_pickle=False) as arrays:
        given = [arrays[str(index)] for index in range(len(arrays.files))]
    made = call(*given)
    results = made if isinstance(made, (list, tuple)) else [made]
    np.savez(outputs, allow_pickle=False, **{str(index): one.to_host() for index, one in enumerate(results)})


def probe(request: dict) -> dict:
    """Compile and run every model; each answer is a line of `results` at once, so that a crash loses only its model."""
    with Path(request["results"]).open("a", encoding="utf-8") as results:
        for item in request["models"]:
            results.write(json.dumps({"started": item["name"]}) + "\n")
            results.flush()
            results.write(json.dumps({"name": item["name"], **probe_one(item, request)}) + "\n")
            results.flush()
    return {}


def probe_one(item: dict, request: dict) -> dict:
    """Compile one model and run it."""
    try:
        run_once(loaded(*compiled(onnx.load(item["model"]), request)), item["inputs"], item["outputs"])
    except Exception as error:  # noqa: BLE001 -- as above
        return {"refused": str(error)}
    return {}


if __name__ == "__main__":
    main()
