"""A stand-in for the ONNX Runtime of AMD's Ryzen AI software, whose provider writes its report and compiles nothing.

`FAKE_VITIS` says what it does: `crash`, `hang`, `raise`, `absent`, `fallback`, `processor` (takes no node), `silent`
(no report), `partly` (leaves Relu to the processor); nothing: it takes all but the quantizers at the model's edge.
"""

from __future__ import annotations

from pathlib import Path

ONNXRUNTIME = """
import json, os, pathlib, time
import onnx

__version__ = "1.23.3"
HOW = os.environ.get("FAKE_VITIS", "")


def get_available_providers():
    return ["CPUExecutionProvider"] if HOW == "absent" else ["VitisAIExecutionProvider", "CPUExecutionProvider"]


class InferenceSession:
    def __init__(self, model, providers, provider_options):
        if HOW == "crash":
            os.abort()
        if HOW == "hang":
            time.sleep(60)
        if HOW == "raise":
            raise RuntimeError("DPU timeout")
        [options] = provider_options
        assert providers == ["VitisAIExecutionProvider"] and options["enable_cache_file_io_in_mem"] == "0"
        assert pathlib.Path(options.get("config_file", model)).is_file(), "paths start at the region"
        folder = pathlib.Path(options["cache_dir"]) / options["cache_key"]
        folder.mkdir(parents=True)
        (folder / "compiled.xmodel").write_bytes(b"binary")
        graph = onnx.load(model).graph
        report = report_of(graph, "config_file" in options)
        if HOW != "silent":
            (folder / os.environ["XLNX_ONNX_EP_REPORT_FILE"]).write_text(json.dumps(report))

    def get_providers(self):
        return ["CPUExecutionProvider"] if HOW == "fallback" else get_available_providers()


def report_of(graph, is_float):
    edge = {value.name for value in (*graph.input, *graph.output)}
    nodes, counts = [], {}
    for node in graph.node:
        at_edge = node.op_type in ("QuantizeLinear", "DequantizeLinear") and edge & {node.input[0], *node.output}
        left = at_edge or HOW == "processor" or (HOW == "partly" and node.op_type == "Relu")
        device = "CPU" if left else "VAIML" if is_float else "NPU"
        entry = {"output": list(node.output), "opType": node.op_type, "device": device}
        nodes.append({**entry, "opDomain": node.domain} if node.domain else entry)
        counts[device] = counts.get(device, 0) + 1
    devices = [{"name": "all", "nodeNum": len(nodes)}, *({"name": k, "nodeNum": n} for k, n in sorted(counts.items()))]
    return {"deviceStat": devices, "nodeStat": nodes, "subgraphStat": [{"device": "NPU", "count": 1}]}
"""


def write_fake(folder: Path) -> None:
    """Write the package below `folder`, which then belongs on PYTHONPATH."""
    package = folder / "onnxruntime"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(ONNXRUNTIME)
