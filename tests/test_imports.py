"""What a command does not need is not imported: starting takes longer than many a model."""

import subprocess
import sys

HEAVY = ("onnxruntime", "networkx", "tvm", "pydantic", "yaml", "onnx.reference", "onnx_graphsurgeon", "sympy.core")

OPTIMIZE = f"""
import sys
from pathlib import Path
from npuopt.graph import parse, save
from npuopt.road.optimizing import Wanted, optimize

folder = Path(sys.argv[1])
text = "g (float[N, 4] x) => (float[N, 4] y) {{ a = Identity(x) y = Relu(a) }}"
save(parse(f'<ir_version: 10, opset_import: ["" : 24]> {{text}}'), folder / "in.onnx")
assert optimize(folder / "in.onnx", folder / "out.onnx", wanted=Wanted(), verify="off")["nodes_after"] == 1
print(*(name for name in {HEAVY} if name in sys.modules))
"""

CALCULATE = """
import sys
import npuopt.graph
import onnx_ir

assert "sympy.core" not in sys.modules
assert (onnx_ir.SymbolicDim("N") * 2 + 1).evaluate({"N": 3}) == 7
import sympy
from sympy.core.add import Add
print(sympy.Symbol("x") + 1, sys.modules["sympy"].__file__ == sympy.__file__)
"""


def said(program: str, *arguments: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def test_optimizing_without_a_target_imports_nothing_heavy(tmp_path) -> None:
    assert said(OPTIMIZE, str(tmp_path)) == ""


def test_arithmetic_on_dims_brings_sympy_after_all() -> None:
    assert said(CALCULATE) == "x + 1 True"
