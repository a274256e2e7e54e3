# pyright: basic
# ^ onnxruntime and onnxruntime_qnn carry no complete types; nothing imports this file.
"""Talks to the QNN execution provider: compiles, simulates or probes, as one JSON request says.

Started as `python -P worker.py REQUEST ANSWER`, always as a child process: the vendor's libraries write to stderr
behind Python's back and can crash. Imports nothing of npuopt, so that it also runs in an isolated environment.

Requests, all with `provider_options` (strings by name):
    {"operation": "compile", "model": file, "output": file for the EPContext model}
    {"operation": "compile_sharing", "models": [{"model", "output", "trace": folder}]}
    {"operation": "export", "model": file, "folder": folder for the containers}
    {"operation": "simulate", "model": file, "inputs": [npz], "outputs": [npz to write], "names": [input name]}
    {"operation": "probe", "models": [{"name", "model", "names", "inputs": npz or null, "outputs": npz to write}],
     "results": file of JSON lines to append to, "scratch": folder}
Arrays in an npz are called by their position in `names`, outputs by their position among the model's outputs.
"""

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import onnxruntime_qnn

PROVIDER = "QNNExecutionProvider"
TRACE = "qnn_op_trace.json"
UNFINISHED = []
"""Sessions whose sharing nothing has stopped."""


def main() -> None:
    """Do what REQUEST says and write ANSWER."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    onnxruntime.set_default_logger_severity(3)
    onnxruntime.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())
    operations = {
        "compile": compile_model,
        "compile_sharing": compile_sharing,
        "export": export,
        "simulate": simulate,
        "probe": probe,
    }
    answer = operations[request["operation"]](request)
    answer["tools"] = {name: version(name) for name in ("onnxruntime", "onnxruntime-qnn")}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
    if UNFINISHED:
        os._exit(0)  # sessions that still share when they end abort the process, and the refusal would be lost


def open_session(model: str, provider_options: dict, config: dict) -> onnxruntime.InferenceSession:
    """Open a session that leaves nodes where the provider's own choice puts them and never retries on the CPU."""
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == PROVIDER]
    if not devices:
        raise RuntimeError("the QNN execution provider found no device")
    options = onnxruntime.SessionOptions()
    # Optimizations rename nodes, and what was optimized is no longer what was checked.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    for key, value in config.items():
        options.add_session_config_entry(key, value)
    options.add_provider_for_devices(devices, provider_options)
    # Without both of these a failure is repeated on the CPU, and the CPU is then compared with itself.
    session = onnxruntime.InferenceSession(model, sess_options=options, enable_fallback=0)
    session.disable_fallback()
    return session


def placement(session: onnxruntime.InferenceSession) -> list:
    """List [provider, [[node name, op type]]] for every subgraph, as ONNX Runtime assigned it."""
    return [
        [subgraph.ep_name, [[node.name, node.op_type] for node in subgraph.get_nodes()]]
        for subgraph in session.get_provider_graph_assignment_info()
    ]


def compile_model(request: dict) -> dict:
    """Compile `model` into the EPContext model `output` with its binary beside it."""
    output = Path(request["output"])
    started = time.perf_counter()
    try:
        session = open_compiling(request["model"], output, output.parent, request["provider_options"], {})
    except Exception as error:  # noqa: BLE001 -- whatever the vendor's library throws is its refusal
        return {"refused": str(error), "trace": read_trace(output.parent)}
    return {"placement": placement(session), "seconds": time.perf_counter() - started}


def compile_sharing(request: dict) -> dict:
    """Compile models into EPContext models with one binary, named after the first, that holds equal weights once.

    Sessions stay open until the last one, which is told to be it and writes the binary.
    """
    held, answers = [], []
    for index, item in enumerate(request["models"], 1):
        config = {"ep.share_ep_contexts": "1"}
        if index == len(request["models"]):
            config["ep.stop_share_ep_contexts"] = "1"
        started = time.perf_counter()
        try:
            held.append(
                open_compiling(
                    item["model"], Path(item["output"]), Path(item["trace"]), request["provider_options"], config
                )
            )
        except Exception as error:  # noqa: BLE001 -- whatever the vendor's library throws is its refusal
            UNFINISHED.extend(held)
            return {"refused": f"{Path(item['model']).name}: {error}"}
        answers.append({"placement": placement(held[-1]), "seconds": time.perf_counter() - started})
    return {"answers": answers}


def open_compiling(
    model: str, output: Path, trace: Path, provider_options: dict, config: dict
) -> onnxruntime.InferenceSession:
    """Open a session that writes what it compiles."""
    options = {
        **provider_options,
        "enable_htp_prepare_only": "1",
        "enable_framework_op_trace": "1",
        "framework_op_trace_dir": str(trace),
    }
    writing = {
        "ep.context_enable": "1",
        "ep.context_embed_mode": "0",
        "ep.context_file_path": str(output),
    }
    return open_session(model, options, {**writing, **config})


def export(request: dict) -> dict:
    """Have every graph that the NPU gets written as a container; this excludes writing an EPContext model."""
    options = {
        **request["provider_options"],
        "dump_qnn_ir_dlc": "1",
        "dump_qnn_ir_dlc_dir": request["folder"],
    }
    started = time.perf_counter()
    try:
        open_session(request["model"], options, {})
    except Exception as error:  # noqa: BLE001 -- whatever the vendor's library throws is its refusal
        return {"refused": str(error)}
    return {"seconds": time.perf_counter() - started}


def simulate(request: dict) -> dict:
    """Run every npz of `inputs` through `model` on the simulator."""
    try:
        session = open_session(request["model"], request["provider_options"], {})
        seconds = []
        for inputs, outputs in zip(request["inputs"], request["outputs"], strict=True):
            seconds.append(run_once(session, request["names"], inputs, outputs))
    except Exception as error:  # noqa: BLE001 -- whatever the vendor's library throws is its refusal
        return {"refused": str(error)}
    names = [output.name for output in session.get_outputs()]
    return {"placement": placement(session), "seconds": seconds, "outputs": names}


def run_once(session: onnxruntime.InferenceSession, names: list, inputs: str, outputs: str) -> float:
    """Feed one npz, write the outputs to another, and return the seconds that the run took."""
    with np.load(inputs, allow_pickle=False) as arrays:
        feeds = {name: arrays[str(index)] for index, name in enumerate(names)}
    started = time.perf_counter()
    results = session.run(None, feeds)
    seconds = time.perf_counter() - started
    np.savez(outputs, **{str(index): np.asarray(result) for index, result in enumerate(results)}, allow_pickle=False)
    return seconds


def probe(request: dict) -> dict:
    """Ask about every model; each answer is a line of `results` at once, so that a crash loses only its model."""
    scratch = Path(request["scratch"])
    # While any session is open the vendor's libraries stay loaded; to load them takes 45 ms, to compile a model 11.
    held: list[onnxruntime.InferenceSession] = []
    with Path(request["results"]).open("a", encoding="utf-8") as results:
        for item in request["models"]:
            results.write(json.dumps({"started": item["name"]}) + "\n")
            results.flush()
            answer = probe_one(item, request["provider_options"], scratch, held)
            results.write(json.dumps({"name": item["name"], **answer}) + "\n")
            results.flush()
    return {}


def probe_one(item: dict, provider_options: dict, scratch: Path, held: list) -> dict:
    """Compile one model, simulate it when it has inputs, and tell what the provider said.

    The session is added to `held` when that is empty and the NPU has a part of the model.
    """
    (scratch / TRACE).unlink(missing_ok=True)
    options = {
        **provider_options,
        "enable_framework_op_trace": "1",
        "framework_op_trace_dir": str(scratch),
    }
    answer: dict = {}
    started = time.perf_counter()
    try:
        session = open_session(item["model"], options, {})
        answer = {"placement": placement(session), "seconds": time.perf_counter() - started}
        if item.get("inputs"):
            run_once(session, item["names"], item["inputs"], item["outputs"])
        if not held and any(provider == PROVIDER for provider, _ in answer["placement"]):
            held.append(session)
    except Exception as error:  # noqa: BLE001 -- whatever the vendor's library throws is its refusal
        answer["refused"] = str(error)
    answer.setdefault("seconds", time.perf_counter() - started)
    return {**answer, "trace": read_trace(scratch)}


def read_trace(folder: Path) -> dict:
    """Return the provider's own account of ops and refusals, or an empty one when it wrote none."""
    path = folder / TRACE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


if __name__ == "__main__":
    main()
