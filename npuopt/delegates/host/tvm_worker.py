"""Compiles a model with TVM, or runs a compiled one: the child process of the TVM road.

Started as `python -P tvm_worker.py REQUEST ANSWER`, both JSON (see npuopt.delegates.process). Requests:

    {"operation": "compile", "model", "folder", "triple", "cpu", "features", "linker"}
    {"operation": "run", "folder", "inputs": [npz ...], "outputs": [npz ...]}
    {"operation": "probe", "models": [{"name", "model", "inputs": npz, "outputs": npz to write}], "folder": scratch,
     "results": file of JSON lines to append to, "triple", "cpu", "features", "linker"}
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).resolve().parents[3]))  # npuopt itself, after everything that is installed

from npuopt.delegates.arrays import load_arrays, save_arrays
from npuopt.delegates.host import loader
from npuopt.delegates.host.linking import LinkError, link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Value

MOST_NAMED = 20
MOST_PRINTED = 300  # characters of what a linker says


def compile_model(request: dict[str, Any]) -> dict[str, Any]:
    """Write model.so, model.json and loader.py, or say why TVM does not take the model."""
    started = time.perf_counter()
    os.environ.pop("TVM_USE_RUNTIME_LIB", None)  # set where a compiled model is run, and inherited from there
    # Here, not above: a run does without the compiler library.
    from npuopt.delegates.host.tvm_api import tvm  # noqa: PLC0415
    from npuopt.delegates.host.tvm_check import find_refusals  # noqa: PLC0415
    from npuopt.delegates.host.tvm_import import import_model  # noqa: PLC0415
    from npuopt.delegates.host.tvm_pipeline import build, make_target  # noqa: PLC0415
    from npuopt.graph import infer_shapes, load, to_proto  # noqa: PLC0415

    model = load(request["model"])
    infer_shapes(model)
    refusals = [str(refusal) for refusal in find_refusals(model)]
    if refusals:
        more = f" and {len(refusals) - MOST_NAMED} more" if len(refusals) > MOST_NAMED else ""
        return {"refused": "; ".join(refusals[:MOST_NAMED]) + more}
    folder = Path(request["folder"])

    def make_library(library: str, objects: list[str], options: list[str]) -> None:
        del options  # TVM has none for the libraries that are made here
        link(request["linker"], library, objects)

    target = make_target(request["triple"], request["cpu"], tuple(request["features"]))
    # A library of copies alone has no module that says the triple.
    fcompile = tvm.support.cc.cross_compiler(make_library, get_target_triple=lambda: request["triple"])
    executable, plain = build(import_model(to_proto(model)), target)
    try:
        executable.export_library(str(folder / "model.so"), fcompile=fcompile)
    except LinkError as error:
        return {"refused": f"{Path(request['linker'][0]).name} cannot link it: {str(error)[:MOST_PRINTED]}"}
    shutil.copyfile(loader.__file__, folder / "loader.py")
    description = {key: request[key] for key in ("triple", "cpu", "features")}
    description |= {"inputs": _tensors(model.graph.inputs), "outputs": _tensors(model.graph.outputs)}
    (folder / loader.DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    return {
        "files": ["model.so", loader.DESCRIPTION, "loader.py"],
        "tools": {"apache-tvm": tvm.__version__},
        "plain_functions": plain,
        "seconds": time.perf_counter() - started,
    }


def run_model(request: dict[str, Any]) -> dict[str, Any]:
    """Run every sample and write what it gives."""
    model = loader.Model(request["folder"])
    for given, made in zip(request["inputs"], request["outputs"], strict=True):
        arrays = load_arrays(Path(given))
        save_arrays(Path(made), list(model.run(dict(zip(model.inputs, arrays, strict=True))).values()))
    return {"outputs": list(model.outputs)}


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """Compile and run every model; each answer is a line of `results` at once, so that a crash loses only its model."""
    with Path(request["results"]).open("a", encoding="utf-8") as results:
        for item in request["models"]:
            results.write(json.dumps({"started": item["name"]}) + "\n")
            results.flush()
            results.write(json.dumps({"name": item["name"], **_probe_one(item, request)}) + "\n")
            results.flush()
    return {}


def _probe_one(item: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"]) / f"{item['name']}-compiled"
    folder.mkdir()
    try:
        answer = compile_model({**request, "model": item["model"], "folder": str(folder)})
        if "refused" not in answer:
            run_model({"folder": str(folder), "inputs": [item["inputs"]], "outputs": [item["outputs"]]})
    except Exception as error:  # noqa: BLE001 -- whatever TVM throws is its refusal
        return {"refused": f"{type(error).__name__}: {error}"}
    finally:
        shutil.rmtree(folder)
    return {key: answer[key] for key in ("refused",) if key in answer}


def _tensors(values: Sequence[Value]) -> list[dict[str, Any]]:
    from npuopt.graph import element_type, static_shape  # noqa: PLC0415

    return [
        {"name": value.name, "shape": list(static_shape(value) or ()), "dtype": str(kind.numpy())}
        for value in values
        if (kind := element_type(value)) is not None
    ]


def main() -> None:
    """Answer the request of the command line."""
    warnings.simplefilter("ignore")  # TVM renames inputs and says so
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = {"compile": compile_model, "run": run_model, "probe": probe}[request["operation"]](request)
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
