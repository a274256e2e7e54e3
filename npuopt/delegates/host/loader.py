"""Runs a model that npuopt compiled with TVM, with numpy and TVM's runtime library alone.

    from loader import Model
    outputs = Model("path/of/this/folder").run({"input": array})

Needs `pip install numpy apache-tvm`; nothing is compiled. TVM_NUM_THREADS bounds the threads.
"""

# pyright: basic
# It runs without npuopt, beside a compiled model, and tvm ships no types.
from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

DESCRIPTION = "model.json"


class Model:
    """A compiled model.

    Args:
        folder: where model.json and the library lie.

    Attributes:
        inputs: name -> (shape, element type), in the model's order.
        outputs: the same for what it returns.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        os.environ.setdefault("TVM_USE_RUNTIME_LIB", "1")
        import tvm  # noqa: PLC0415 -- the variable above has to be set before
        from tvm.runtime import vm  # noqa: PLC0415

        description = json.loads((Path(folder) / DESCRIPTION).read_text(encoding="utf-8"))
        self.inputs = {item["name"]: (tuple(item["shape"]), np.dtype(item["dtype"])) for item in description["inputs"]}
        self.outputs = {
            item["name"]: (tuple(item["shape"]), np.dtype(item["dtype"])) for item in description["outputs"]
        }
        library: Any = tvm.runtime.load_module(str(Path(folder) / "model.so"))
        self._tensor: Any = tvm.runtime.tensor
        device: Any = tvm.cpu()
        self._machine: Any = vm.VirtualMachine(library, device)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once.

        Raises:
            ValueError: when an input is missing, or has another shape or element type than the model's.
        """
        tensors: list[Any] = []
        for name, (shape, dtype) in self.inputs.items():
            array = feeds.get(name)
            if array is None or array.shape != shape or array.dtype != dtype:
                given = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
                raise ValueError(f"input {name!r} takes {dtype}{list(shape)}, not {given}")
            # not ascontiguousarray, which makes a vector of a scalar
            tensors.append(self._tensor(np.require(array, requirements="C")))
        result: Any = self._machine["main"](*tensors)
        results = [result] if hasattr(result, "numpy") else list(result)
        return {name: item.numpy() for name, item in zip(self.outputs, results, strict=True)}
