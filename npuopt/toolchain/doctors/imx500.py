# pyright: basic, reportMissingImports=false
# ^ runs in an environment of its own, whose packages the checker does not see; nothing imports this file.
"""Lets the converter lay out one ReLU in the sensor's memory: REQUEST is an empty object, ANSWER says the version."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import onnx
from onnx import TensorProto, helper

QUANTIZER = {"domain": "mct_quantizers", "num_bits": 8, "signed": 1, "threshold": 4.0, "mctq_version": "1.6.0"}


def main() -> None:
    """Ask for the memory report, which takes seconds where the whole conversion takes a minute."""
    answer = {"version": version("imx500-converter")}
    if shutil.which("java") is None:
        answer["refused"] = "Java 17 is not on PATH (Debian: apt install openjdk-17-jre-headless)"
    else:
        with tempfile.TemporaryDirectory() as scratch:
            model = Path(scratch) / "relu.onnx"
            write_relu(model)
            command = [
                str(Path(sys.executable).parent / "imxconv-pt"),
                "--memory-report",
                "-i",
                str(model),
                "-o",
                scratch,
            ]
            settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            settings["JAVA_TOOL_OPTIONS"] = "-Xmx2g"
            child = subprocess.run([*command, "--overwrite-output"], cwd=scratch, env=settings, check=False)
            if child.returncode or not (Path(scratch) / "relu_MemoryReport.json").is_file():
                answer["refused"] = f"one ReLU gave no memory report (code {child.returncode})"
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def write_relu(path: Path) -> None:
    """Write a ReLU between two quantizers."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 8, 8]) for name in "xyqr"]
    nodes = [
        helper.make_node("ActivationPOTQuantizer", ["x"], ["q"], "quantize_x", **QUANTIZER),
        helper.make_node("Relu", ["q"], ["r"], "relu"),
        helper.make_node("ActivationPOTQuantizer", ["r"], ["y"], "quantize_y", **QUANTIZER),
    ]
    graph = helper.make_graph(nodes, "relu", values[:1], values[1:2], value_info=values[2:])
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("mct_quantizers", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="pytorch")
    model.producer_version = "2.6.0"  # the converter reads no model of another producer, or of one without a version
    onnx.save(model, path)


if __name__ == "__main__":
    main()
