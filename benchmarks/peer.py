"""Run one other optimizer on one file, the way its documentation shows: `python peer.py TOOL IN OUT`.

Imports nothing of npuopt: it runs in the peers' own environment, and its whole process is what is measured. Weights
beside the model stay beside it where the tool can do that.
"""

# ruff: noqa: PLC0415 -- each process imports the one tool that is measured
from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def onnxslim(source: str, output: str) -> None:
    import onnxslim as tool

    tool.slim(source, output, save_as_external_data=has_external_data(source))


def onnxsim(source: str, output: str) -> None:
    import onnxsim as tool

    model, _ = tool.simplify(source)
    write(model, source, output)


def onnxoptimizer(source: str, output: str) -> None:
    import onnx
    import onnxoptimizer as tool

    write(tool.optimize(onnx.load(source)), source, output)


def onnxscript(source: str, output: str) -> None:
    import onnx_ir
    import onnxscript.optimizer as tool

    model = onnx_ir.load(source)
    tool.optimize(model)
    onnx_ir.save(model, output, external_data=f"{Path(output).name}.data" if has_external_data(source) else None)


def ort_basic(source: str, output: str) -> None:
    import onnxruntime as tool

    options = tool.SessionOptions()
    options.graph_optimization_level = tool.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = output
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if has_external_data(source):
        file = f"{Path(output).name}.data"
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", file)
    tool.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def ort_transformers(source: str, output: str) -> None:
    from onnxruntime.transformers import optimizer as tool

    kind = "gpt2" if "llama" in Path(source).stem else "bert"
    model = tool.optimize_model(source, model_type=kind, opt_level=0)
    model.save_model_to_file(output, use_external_data_format=has_external_data(source))


TOOLS: dict[str, Callable[[str, str], None]] = {
    "onnxslim": onnxslim,
    "onnxsim": onnxsim,
    "onnxoptimizer": onnxoptimizer,
    "onnxscript": onnxscript,
    "ort-basic": ort_basic,
    "ort-transformers": ort_transformers,
}


def has_external_data(path: str) -> bool:
    return Path(f"{path}.data").exists()


def write(model: Any, source: str, output: str) -> None:  # noqa: ANN401 -- an onnx.ModelProto; onnx is imported late
    import onnx

    external = {"save_as_external_data": True, "location": f"{Path(output).name}.data"}
    onnx.save(model, output, **(external if has_external_data(source) else {}))


if __name__ == "__main__":
    TOOLS[sys.argv[1]](sys.argv[2], sys.argv[3])
