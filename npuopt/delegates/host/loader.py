"""Runs a model that npuopt compiled with TVM, with numpy and TVM's runtime library alone.

    from loader import Model
    outputs = Model("path/of/this/folder").run({"input": array})

Needs `pip install numpy apache-tvm`; nothing is compiled. TVM_NUM_THREADS bounds the threads.
"""

# pyright: basic
# It runs without npuopt, beside a compiled model, and tvm ships no types.
from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

DESCRIPTION = "model.json"
ALIGNMENT = 64  # bytes; TVM's vector loads ask for it


class Model:
    """A compiled model, for one run at a time: its inputs are buffers that stay.

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
        device: Any = tvm.cpu()
        self._machine: Any = vm.VirtualMachine(library, device)
        self._buffers = [_aligned(shape, dtype) for shape, dtype in self.inputs.values()]
        self._addresses = {_address(buffer) for buffer in self._buffers}
        self._tensors: list[Any] = [tvm.runtime.from_dlpack(buffer) for buffer in self._buffers]

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once.

        Raises:
            ValueError: when an input is missing, or has another shape or element type than the model's.
        """
        for buffer, (name, (shape, dtype)) in zip(self._buffers, self.inputs.items(), strict=True):
            array = feeds.get(name)
            if array is None or array.shape != shape or array.dtype != dtype:
                given = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
                raise ValueError(f"input {name!r} takes {dtype}{list(shape)}, not {given}")
            np.copyto(buffer, array)
        result: Any = self._machine["main"](*self._tensors)
        results = [result] if hasattr(result, "numpy") else list(result)
        return {name: self._taken(np.from_dlpack(item)) for name, item in zip(self.outputs, results, strict=True)}

    def _taken(self, output: np.ndarray) -> np.ndarray:
        """The output itself, or a copy where it is an input buffer handed through."""
        return output.copy() if _address(output) in self._addresses else output


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    size = math.prod(shape) * dtype.itemsize
    room = np.zeros(size + ALIGNMENT, np.uint8)
    # Not a slice of it: one without elements points elsewhere, and numpy gives it other strides than TVM expects.
    strides = [dtype.itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return np.ndarray(shape, dtype, room, -room.ctypes.data % ALIGNMENT, strides)
