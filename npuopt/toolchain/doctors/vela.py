# pyright: basic, reportMissingImports=false
# ^ runs in an environment of its own, whose packages the checker does not see; nothing imports this file.
"""Compiles one int8 ReLU for an Ethos-U55: REQUEST is an empty object, ANSWER says the version."""

import csv
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import flatbuffers
import numpy as np
from ethosu.vela import vela
from ethosu.vela.tflite import Buffer, Model, Operator, OperatorCode, QuantizationParameters, SubGraph, Tensor

RELU, INT8 = 19, 9
"""Numbers of the operator and of the type in the TFLite schema."""


def one_op() -> bytes:
    """Return a TFLite file with one ReLU on 1x8x8x16."""
    make = flatbuffers.Builder(1024)
    scale = make.CreateNumpyVector(np.asarray([0.1], "float32"))
    zero = make.CreateNumpyVector(np.asarray([0], "int64"))
    quantized = table(make, QuantizationParameters, "QuantizationParameters", Scale=scale, ZeroPoint=zero)
    shape = make.CreateNumpyVector(np.asarray([1, 8, 8, 16], "int32"))
    names = [make.CreateString(name) for name in ("x", "y")]
    fields = {"Shape": shape, "Type": INT8, "Buffer": 0, "Quantization": quantized}
    tensors = vector(make, [table(make, Tensor, "Tensor", Name=name, **fields) for name in names])
    given, made = (make.CreateNumpyVector(np.asarray([index], "int32")) for index in (0, 1))
    operators = vector(make, [table(make, Operator, "Operator", OpcodeIndex=0, Inputs=given, Outputs=made)])
    graph = table(make, SubGraph, "SubGraph", Tensors=tensors, Inputs=given, Outputs=made, Operators=operators)
    code = table(make, OperatorCode, "OperatorCode", DeprecatedBuiltinCode=RELU, BuiltinCode=RELU, Version=1)
    buffer = table(make, Buffer, "Buffer")
    parts = {
        "OperatorCodes": vector(make, [code]),
        "Subgraphs": vector(make, [graph]),
        "Buffers": vector(make, [buffer]),
    }
    make.Finish(table(make, Model, "Model", Version=3, **parts), b"TFL3")
    return bytes(make.Output())


def table(make: flatbuffers.Builder, module: ModuleType, name: str, **fields: int) -> int:
    """Write a table and return its place."""
    getattr(module, f"{name}Start")(make)
    for field, value in fields.items():
        getattr(module, f"{name}Add{field}")(make, value)
    return getattr(module, f"{name}End")(make)


def vector(make: flatbuffers.Builder, places: list) -> int:
    """Write a vector of tables and return its place."""
    make.StartVector(4, len(places), 4)
    for place in reversed(places):
        make.PrependUOffsetTRelative(place)
    return make.EndVector()


def main() -> None:
    """Compile it and check that the NPU got it."""
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "relu.tflite"
        model.write_bytes(one_op())
        vela.main([str(model), "--accelerator-config", "ethos-u55-128", "--output-dir", scratch])
        [summary] = Path(scratch).glob("relu_summary_*.csv")
        with summary.open(newline="") as file:
            [row] = csv.DictReader(file)
    answer = {"version": version("ethos-u-vela")}
    if float(row["cycles_npu"]) <= 0:
        answer["refused"] = "the NPU was given nothing to do"
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
