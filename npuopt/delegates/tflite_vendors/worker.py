# pyright: basic
# ^ the schema carries no types; nothing imports this file.
"""Runs a vendor's compiler on a TFLite model and reads what it wrote, as one JSON request says.

Started as `python -P worker.py REQUEST ANSWER`, always as a child process: the compiler is a program of somebody else,
and the file that it writes is read without trust. Imports nothing of npuopt.

The request: {"command": [...], "environment": {name: value}, "result": the file that the command is to write}.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
CUSTOM = schema.BuiltinOperator.CUSTOM
MOST_OPERATORS = 1_000_000


def main() -> None:
    """Do what REQUEST says and write ANSWER."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    started = time.perf_counter()
    ended = subprocess.run(
        request["command"], env={**os.environ, **request["environment"]}, stdin=subprocess.DEVNULL, check=False
    )
    sys.stdout.flush()
    if ended.returncode < 0:  # ends as the compiler did, so that it is not told as an answer
        with contextlib.suppress(OSError):  # some cannot be given back
            signal.signal(-ended.returncode, signal.SIG_DFL)
        os.kill(os.getpid(), -ended.returncode)
    if ended.returncode:
        sys.exit(ended.returncode)
    answer = {**operators(Path(request["result"])), "seconds": time.perf_counter() - started}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def operators(path: Path) -> dict:
    """List [operator, [name of each output]] of the main graph of a TFLite file; custom ones by their own names."""
    if not path.is_file() or not path.stat().st_size:
        return {"refused": "it wrote no model"}
    try:
        return {"operators": list(read(path.read_bytes()))}
    except Exception as error:  # noqa: BLE001 -- whatever a damaged file makes the schema do
        return {"refused": f"what it wrote is not a TFLite model ({type(error).__name__})"}


def read(data: bytes):  # noqa: ANN201 -- a generator of pairs
    """Yield every operator of the main graph."""
    if data[4:8] != b"TFL3":
        raise ValueError("no TFLite model")
    model: Any = schema.Model.GetRootAs(bytearray(data))
    graph: Any = model.Subgraphs(0)
    if graph.OperatorsLength() > MOST_OPERATORS:
        raise ValueError("too many operators")
    for place in range(graph.OperatorsLength()):
        operator = graph.Operators(place)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = code.CustomCode().decode() if kind == CUSTOM else NAMES.get(kind, str(kind))
        made = [operator.Outputs(index) for index in range(operator.OutputsLength())]
        yield name, [graph.Tensors(index).Name().decode() for index in made]


if __name__ == "__main__":
    main()
