# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; nothing imports this file.
"""Compiles and runs one ReLU on the CPU device: REQUEST is an empty object, ANSWER says the version."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13


def main() -> None:
    """Compile it, run it, and check what it made."""
    data = opset13.parameter([1, 4], np.float32, name="x")
    core = ov.Core()
    compiled = core.compile_model(ov.Model([opset13.relu(data)], [data]), "CPU")
    made = compiled([np.array([[-2, -1, 1, 2]], np.float32)])[0]
    answer = {"version": version("openvino"), "devices": core.available_devices}
    if made.ravel().tolist() != [0, 0, 1, 2]:
        answer["refused"] = f"ReLU made {made.ravel().tolist()}"
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
