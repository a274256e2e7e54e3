"""Stands in for a vendor's compiler that reads TFLite models, with the command lines of two of them.

`python fake_tflite_compiler.py BEHAVIOUR ...`, where BEHAVIOUR is one of
    all: puts the whole graph into one custom operator
    but-the-last: leaves the last operator of the graph
    nothing: copies the model
    crash, hang, fail, silent, garbage, flood: what the name says; the last prints without end of what makes sense
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

EDGE_TPU = """Edge TPU Compiler version 16.0.384591198

Model compiled successfully in 577 ms.

Input model: model.tflite
Input size: 8.58MiB
On-chip memory used for caching model parameters: 3.00KiB
On-chip memory remaining for caching model parameters: 7.67MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: {total}

Operator                       Count      Status

"""


def main() -> None:
    """Behave as the first argument says."""
    behaviour, given = sys.argv[1], sys.argv[2:]
    options = dict(item.removeprefix("--").split("=", 1) for item in given if "=" in item)
    aot = "model" in options
    model = Path(options["model"] if aot else given[-1])
    result = Path(options["o"]) if aot else Path(given[given.index("--out_dir") + 1]) / f"{model.stem}_edgetpu.tflite"
    misbehave(behaviour, result)
    kept = {"all": 0, "but-the-last": 1, "flood": 0}.get(behaviour)
    if kept is None:
        shutil.copyfile(model, result)
        return
    names = compiled(model, result, kept, "DISPATCH_OP" if aot else "edgetpu-custom-op")
    taken = names[: len(names) - kept]
    if aot:
        print(f"INFO: Partitioned subgraph<0>, selected {len(taken)} ops, from a total of {len(names)} ops.", end=" ")
        print("resulted in 1 partitions.")
        print(
            "".join(f"LiteRT Op #9 '{name.title()}' (code=9) is not supported in it.\n" for name in names[len(taken) :])
        )
        return
    print(EDGE_TPU.format(total=len(names)))
    for name in taken:
        print(f"{name:<31}1          Mapped to Edge TPU")
    for name in names[len(taken) :]:
        print(f"{name:<31}1          Operation is working on an unsupported data type")


def misbehave(behaviour: str, result: Path) -> None:
    """Do what no compiler should, if asked to."""
    if behaviour == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == "hang":
        time.sleep(600)
    if behaviour == "fail":
        print("ERROR: [compiler.cc:7] Invalid model: model.tflite")
        sys.exit(1)
    if behaviour == "silent":
        sys.exit(0)
    if behaviour == "garbage":
        result.write_bytes(b"\x08\x00\x00\x00TFL3" + b"\xff" * 4096)
        sys.exit(0)
    if behaviour == "flood":
        for _ in range(200):
            print("CONV_2D " * 4096 + "\x1b[31m" + "9" * 4096)


def compiled(model: Path, result: Path, kept: int, custom: str) -> list:
    """Write the model with all but the last `kept` operators made one; return the names of those it had."""
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    graph = schema.ModelT.InitFromPackedBuf(model.read_bytes())
    main_graph = graph.subgraphs[0]
    had = [names[graph.operatorCodes[one.opcodeIndex].builtinCode] for one in main_graph.operators]
    taken = main_graph.operators[: len(had) - kept]
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = schema.BuiltinOperator.CUSTOM, 32, custom
    graph.operatorCodes.append(code)
    whole = schema.OperatorT()
    whole.opcodeIndex = len(graph.operatorCodes) - 1
    whole.inputs, whole.outputs = main_graph.inputs, taken[-1].outputs
    main_graph.operators = [whole, *main_graph.operators[len(taken) :]]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(graph.Pack(builder), b"TFL3")
    result.write_bytes(bytes(builder.Output()))
    return had


if __name__ == "__main__":
    main()
