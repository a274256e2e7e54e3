# pyright: basic, reportMissingImports=false
# ^ runs in an environment of its own, whose packages the checker does not see; nothing imports this file.
"""Serializes one absolute value as TOSA and runs it: REQUEST is an empty object, ANSWER says the version."""

import json
import subprocess
import sys
import tempfile
from importlib.metadata import distribution, version
from pathlib import Path

import numpy as np

SOURCE = """
func.func @main(%x: tensor<4xi32>) -> tensor<4xi32> {
  %y = tosa.abs %x : (tensor<4xi32>) -> tensor<4xi32>
  return %y : tensor<4xi32>
}
"""
SECONDS = 60


def main() -> None:
    """Serialize it, run it, and check what it made."""
    import tosa_converter_for_tflite  # noqa: F401, PLC0415 -- has a library of its own, which must load

    programs = Path(str(distribution("tosa-tools").locate_file("bin")))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "abs.mlir").write_text(SOURCE, encoding="utf-8")
        np.save(folder / "x.npy", np.array([-2, -1, 1, 2], np.int32))
        serialize = [str(programs / "tosa-opt"), "abs.mlir", "--tosa-serialize=tosa-flatbuffer-filename=abs.tosa"]
        subprocess.run([*serialize, "-o", "again.mlir"], check=True, timeout=SECONDS, cwd=folder)
        run = [str(programs / "tosa_reference_model"), "--tosa_file=abs.tosa", "--flatbuffer_dir=.", "--output_dir=."]
        edge = ["--ifm_name=TosaInput_0", "--ifm_file=x.npy", "--ofm_name=TosaOutput_0", "--ofm_file=y.npy"]
        subprocess.run([*run, *edge], check=True, timeout=SECONDS, cwd=folder)
        made = np.load(folder / "y.npy").tolist()
    answer = {"version": version("tosa-tools")}
    if made != [2, 1, 1, 2]:
        answer["refused"] = f"the absolute value made {made}"
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
