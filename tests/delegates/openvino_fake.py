"""A stand-in for the package `openvino` with an NPU compiler beside it, for the part that no Linux package brings.

`FAKE_NPU` (JSON) says what the compiler does: `platform` written into the blob, `taken` operations, `devices`,
`refuses`. Put on a child's path it answers as OpenVINO 2026.4.1 does, without computing anything.
"""

from __future__ import annotations

from pathlib import Path

SOURCE = """
import json, os
from pathlib import Path

__version__ = "2026.4.1-fake"
SAYS = json.loads(os.environ["FAKE_NPU"])


class Operation:
    def __init__(self, name, kind):
        self.name, self.kind = name, kind

    def get_type_name(self):
        return self.kind

    def outputs(self):
        return []

    def get_friendly_name(self):
        return self.name


class Model:
    def get_ordered_ops(self):
        return [Operation("x", "Parameter"), Operation("act", "Relu"), Operation("y", "Result")]


class CompiledModel:
    def get_property(self, name):
        assert name == "EXECUTION_DEVICES"
        return SAYS.get("devices", ["NPU"])

    def export_model(self):
        return b"network" * 100 + f"ov=2026.4.1;npu={SAYS['platform']}".encode()


class Core:
    def get_property(self, device, name):
        if SAYS.get("refuses"):
            raise RuntimeError(SAYS["refuses"])
        return 458754

    def read_model(self, path):
        return Model()

    def query_model(self, model, device, config):
        assert config == {"NPU_PLATFORM": "4000", "NPU_COMPILER_TYPE": "PLUGIN"}
        return {name: "NPU" for name in SAYS.get("taken", ["act"])}

    def compile_model(self, model, device, config):
        assert device == "NPU"
        return CompiledModel()


def save_model(model, path, compress_to_fp16):
    assert compress_to_fp16 is False
    Path(path).write_text("<net/>")
    Path(path).with_suffix(".bin").write_bytes(b"weights")
"""
TRANSFORMATIONS = """
def apply_moc_transformations(model, cf):
    assert cf
"""
LIBRARIES = ("libopenvino_intel_npu_compiler.so", "libopenvino_intel_npu_compiler_loader.so")


def write_fake(folder: Path, libraries: tuple[str, ...] = LIBRARIES) -> None:
    """Write the package below `folder`, which then belongs on PYTHONPATH."""
    package = folder / "openvino"
    (package / "libs").mkdir(parents=True)
    (package / "__init__.py").write_text(SOURCE)
    (package / "_offline_transformations.py").write_text(TRANSFORMATIONS)
    for name in libraries:
        (package / "libs" / name).touch()
