# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; nothing imports this file.
"""Talks to OpenVINO: converts, compiles for the NPU, runs on the CPU device or probes, as one JSON request says.

Started as `python -P worker.py REQUEST ANSWER`, always as a child process. Imports nothing of npuopt.

Requests:
    {"operation": "compile", "model": ONNX file, "output": xml to write, "blob": file to write, "platform": "4000"}
    {"operation": "run", "model": xml, "inputs": [npz], "outputs": [npz to write], "names": [input name],
     "results": [output name]}
    {"operation": "probe", "models": [{"name", "model", "names", "inputs": npz, "outputs": npz to write}],
     "results": file of JSON lines to append to}
Arrays in an npz are called by their position.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import openvino
from openvino._offline_transformations import apply_moc_transformations

COMPILER_FILE = "intel_npu_compiler"
# The NPU computes what the graph says, so nothing may be rounded that the graph does not round: no 8-bit kernels of the
# CPU's own choice (37 instead of 46 dB on one model, fashion_mnist in a8w8), no activations quantized beside held
# weights (44 instead of over 100 dB), and no bfloat16.
CPU = {
    "INFERENCE_PRECISION_HINT": "f32",
    "LP_TRANSFORMS_MODE": "NO",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    "INFERENCE_NUM_THREADS": 1,
}


def main() -> None:
    """Do what REQUEST says and write ANSWER."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = {"compile": compile_model, "run": run, "probe": probe}[request["operation"]](request)
    answer["tools"] = {"openvino": openvino.__version__}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def compile_model(request: dict) -> dict:
    """Convert to OpenVINO IR and, where the vendor's NPU compiler lies beside OpenVINO, to a blob."""
    started = time.perf_counter()
    try:
        model = convert(openvino.Core(), request["model"])
        openvino.save_model(model, request["output"], compress_to_fp16=False)
    except Exception as error:  # noqa: BLE001 -- whatever the vendor's library throws is its refusal
        return {"refused": str(error)}
    answer = {**account(model), "seconds": time.perf_counter() - started, "compiler": compiler_files()}
    if answer["compiler"]:
        answer["npu"] = compile_for_npu(model, request["platform"], request["blob"])
    return answer


def convert(core: openvino.Core, path: str) -> openvino.Model:
    """Do what `openvino.convert_model` does, but for its report to the vendor over the network (2 s a model)."""
    model = core.read_model(path)
    apply_moc_transformations(model, cf=True)
    return model


def compiler_files() -> list:
    """Name the libraries of the NPU compiler that lie beside OpenVINO's own."""
    folder = Path(openvino.__file__).parent / "libs"
    return sorted(path.name for path in folder.glob(f"*{COMPILER_FILE}*"))


def compile_for_npu(model: openvino.Model, platform: str, blob: str) -> dict:
    """Ask which operations the NPU takes, then compile for it; nothing else may take a part."""
    core = openvino.Core()
    config = {"NPU_PLATFORM": platform, "NPU_COMPILER_TYPE": "PLUGIN"}
    started = time.perf_counter()
    try:
        compiler = str(core.get_property("NPU", "NPU_COMPILER_VERSION"))
        taken = sorted(core.query_model(model, "NPU", config))
        compiled = core.compile_model(model, "NPU", config)
        devices = [str(device) for device in compiled.get_property("EXECUTION_DEVICES")]
        Path(blob).write_bytes(compiled.export_model())
    except Exception as error:  # noqa: BLE001 -- as above
        return {"refused": str(error)}
    return {"version": compiler, "taken": taken, "devices": devices, "seconds": time.perf_counter() - started}


def account(model: openvino.Model) -> dict:
    """List every operation as [name, type], and count the bytes of constants by element type."""
    operations, constants, types, rank = [], Counter(), set(), 0
    for operation in model.get_ordered_ops():
        kind = operation.get_type_name()
        for output in operation.outputs():
            shape = output.get_partial_shape()
            rank = max(rank, shape.rank.get_length() if shape.rank.is_static else 0)
            types.add(output.get_element_type().get_type_name())
        if kind == "Constant":
            constants[operation.get_element_type().get_type_name()] += operation.get_byte_size()
        elif kind not in ("Parameter", "Result"):
            operations.append([operation.get_friendly_name(), kind])
    return {
        "operations": operations,
        "constants": dict(sorted(constants.items())),
        "types": sorted(types),
        "rank": rank,
    }


def run(request: dict) -> dict:
    """Run every npz of `inputs` on the CPU device."""
    try:
        compiled = on_cpu(openvino.Core(), openvino.Core().read_model(request["model"]))
        for inputs, outputs in zip(request["inputs"], request["outputs"], strict=True):
            run_once(compiled, request["names"], inputs, request["results"], outputs)
    except Exception as error:  # noqa: BLE001 -- as above
        return {"refused": str(error)}
    return {"devices": [str(device) for device in compiled.get_property("EXECUTION_DEVICES")]}


def on_cpu(core: openvino.Core, model: openvino.Model) -> openvino.CompiledModel:
    """Open a model on the CPU device."""
    return core.compile_model(model, "CPU", CPU)


def run_once(compiled: openvino.CompiledModel, names: list, inputs: str, results: list, outputs: str) -> None:
    """Feed one npz and write the outputs, in the order of `results`, to another."""
    with np.load(inputs, allow_pickle=False) as arrays:
        given = {name: arrays[str(index)] for index, name in enumerate(names)}
    known = {name for value in compiled.inputs for name in value.get_names()}  # an input that nothing reads is gone
    request = compiled.create_infer_request()  # its memory holds what it made
    made = request.infer({name: array for name, array in given.items() if name in known})
    arrays = {str(index): np.array(made[name]) for index, name in enumerate(results)}
    np.savez(outputs, allow_pickle=False, **arrays)


def probe(request: dict) -> dict:
    """Convert and run every model; each answer is a line of `results` at once, so that a crash loses only its model."""
    core = openvino.Core()
    with Path(request["results"]).open("a", encoding="utf-8") as results:
        for item in request["models"]:
            results.write(json.dumps({"started": item["name"]}) + "\n")
            results.flush()
            results.write(json.dumps({"name": item["name"], **probe_one(core, item)}) + "\n")
            results.flush()
    return {}


def probe_one(core: openvino.Core, item: dict) -> dict:
    """Convert one model and run it on the CPU device."""
    try:
        model = convert(core, item["model"])
        answer = account(model)
        run_once(on_cpu(core, model), item["names"], item["inputs"], item["results"], item["outputs"])
    except Exception as error:  # noqa: BLE001 -- as above
        return {"refused": str(error)}
    return answer


if __name__ == "__main__":
    main()
