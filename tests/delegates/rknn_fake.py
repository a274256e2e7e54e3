"""A stand-in for the package `rknn`, which prints what RKNN-Toolkit2 2.5.0 prints and computes nothing.

`FAKE_RKNN` (JSON) says what it does: `log` that a build prints, `code` that a build returns, `crash`, `hang`, `raises`.
"""

from __future__ import annotations

from pathlib import Path

SOURCE = """
import json, os, sys, time
import numpy as np

SAYS = json.loads(os.environ["FAKE_RKNN"])


class RKNN:
    def __init__(self, verbose):
        assert verbose

    def config(self, target_platform, disable_rules):
        print("I target", target_platform, "without", disable_rules)

    def load_onnx(self, model):
        return 0 if os.path.getsize(model) else -1

    def build(self, do_quantization):
        if SAYS.get("crash"):
            os.abort()
        if SAYS.get("hang"):
            time.sleep(60)
        if SAYS.get("raises"):
            raise ValueError(SAYS["raises"])
        print(SAYS.get("log", ""))
        return SAYS.get("code", 0)

    def export_rknn(self, path):
        with open(path, "wb") as file:
            file.write(b"RKNN" * 16)

    def init_runtime(self):
        return 0

    def inference(self, inputs, data_format):
        return [np.maximum(inputs[0], 0)]

    def release(self):
        pass
"""
METADATA = "Metadata-Version: 2.1\nName: rknn-toolkit2\nVersion: 2.5.0\n"
START = "D RKNN: [16:09:19.813]"
ROWS = (
    ("InputOperator", "NPU", "0/0/0", "0", "InputOperator:x"),
    ("Relu", "NPU", "274/1872/1900", "3.5", "Relu:act"),
    ("Reshape", "CPU", "0/0/0", "0", "Reshape:y_rs"),
    ("OutputOperator", "CPU", "0/0/0", "0", "OutputOperator:y"),
)


def table(*rows: tuple[str, str, str, str, str], memory: bool = True) -> str:
    """Write what the toolkit prints of some layers: kind, target, cycles, KiB of traffic, full name."""
    lines = [f"{START} {'Network Layer Information Table':>90}"]
    for place, (kind, target, cycles, traffic, name) in enumerate(rows):
        shapes = r"\                  (1,4)"
        lines.append(
            f"{START} {place:<4} {kind:<18} FLOAT16  {target:<6} {shapes}  {cycles:<22} {traffic:<12} {name:<16}"
        )
    lines.append(f"{START} <<<<<<<< end: rknn::RKNNModelRegCmdbuildPass")
    if memory:
        lines += [f"{START} Total Internal Memory Size: 1.5KB", f"{START} Total Weight Memory Size: 2MB"]
    return "\n".join(lines)


def write_fake(folder: Path) -> None:
    """Write the package below `folder`, which then belongs on PYTHONPATH."""
    package, record = folder / "rknn", folder / "rknn_toolkit2-2.5.0.dist-info"
    package.mkdir(parents=True)
    record.mkdir()
    (package / "__init__.py").touch()
    (package / "api.py").write_text(SOURCE)
    (record / "METADATA").write_text(METADATA)
