# pyright: basic, reportMissingImports=false
# ^ runs in an environment of its own, whose packages the checker does not see; nothing imports this file.
"""Builds and simulates one ReLU for the RK3588: REQUEST is an empty object, ANSWER says the version."""

import json
import sys
import tempfile
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
from onnx import TensorProto, helper


class NoTorch(MetaPathFinder, Loader):
    """Answers for torch: the package imports it for one algorithm that npuopt never asks for, at 3 GB on disk."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find torch and what is in it."""
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] == "torch" else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return a module whose classes are empty and whose functions decorate with nothing."""
        module = ModuleType(spec.name)
        module.__dict__["no_grad"] = lambda: lambda function: function
        module.__dict__["Module"] = object
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: all is there."""


def main() -> None:
    """Build it, run it in the simulator, and check what it made."""
    sys.meta_path.insert(0, NoTorch())
    from rknn.api import RKNN  # noqa: PLC0415 -- only now does it find what it takes for torch

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 2, 2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", values[:1], values[1:])
    opset = [helper.make_opsetid("", 13)]
    data = np.arange(-8, 8, dtype=np.float32).reshape(1, 4, 2, 2)
    tool = RKNN(verbose=False)
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "relu.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), model)
        tool.config(target_platform="rk3588")
        codes = [tool.load_onnx(model=str(model)), tool.build(do_quantization=False), tool.init_runtime()]
    made = tool.inference(inputs=[data], data_format=["nchw"]) if not any(codes) else None
    answer = {"version": version("rknn-toolkit2")}
    if made is None or not np.allclose(made[0], np.maximum(data, 0), atol=0.01):
        answer["refused"] = f"one ReLU did not come out right (codes {codes})"
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
