"""The edge of a TFLite model: ONNX arrays as it stores them, and back."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


TYPES = frozenset({"bool", "float16", "float32", "int16", "int32", "int64", "int8", "uint8"})


@dataclass(frozen=True)
class Port:
    """An input or output of the TFLite model.

    Attributes:
        name: of the ONNX value, and in the signature of the TFLite model.
        shape: as stored.
        dtype: as stored; integers where the ONNX value is float and quantized at once.
        order: axis i as stored is axis order[i] of the ONNX value.
        value_type: element type of the ONNX value.
        scale: of the integers; 0 where they stand for themselves.
        zero_point: of the integers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    order: tuple[int, ...]
    value_type: str
    scale: float = 0.0
    zero_point: int = 0

    def store(self, array: np.ndarray) -> np.ndarray:
        """Return an ONNX array as the model stores it.

        Raises:
            InputError: it is of another type or shape.
        """
        where = f"input {self.name!r}"
        wanted = tuple(self.shape[self.order.index(axis)] for axis in range(len(self.order)))
        if array.dtype != np.dtype(self.value_type):
            raise InputError(f"has type {array.dtype}, not {self.value_type}", where=where)
        if array.shape != wanted:
            raise InputError(f"has shape {list(array.shape)}, not {list(wanted)}", where=where)
        stored = array.transpose(self.order)
        if self.scale and array.dtype.kind == "f":
            limits = np.iinfo(self.dtype)
            # In float32, as QuantizeLinear computes: halves fall the same way.
            steps = np.rint(stored / np.float32(self.scale)) + self.zero_point
            stored = np.clip(steps, limits.min, limits.max).astype(self.dtype)
        return stored.copy()

    def restore(self, stored: np.ndarray) -> np.ndarray:
        """Return what the model stores as an ONNX array.

        Raises:
            InputError: the interpreter made another shape than the exporter wrote.
        """
        if stored.size != math.prod(self.shape):
            raise InputError(f"comes in shape {list(stored.shape)}, not {list(self.shape)}", where=self.name)
        array = stored.reshape(self.shape).transpose(np.argsort(self.order)) if self.order else stored.reshape(())
        if self.scale and np.dtype(self.value_type).kind == "f":
            array = (array.astype(np.int32) - self.zero_point).astype(np.float32) * np.float32(self.scale)
        return array.astype(self.value_type).copy()


def save_ports(path: Path, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    """Write both edges of a model as JSON."""
    record = {"inputs": [asdict(port) for port in inputs], "outputs": [asdict(port) for port in outputs]}
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def load_ports(path: Path) -> tuple[list[Port], list[Port]]:
    """Read what `save_ports` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return [_port(item) for item in record["inputs"]], [_port(item) for item in record["outputs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path), hint="compile the region again") from error


def _port(item: Mapping[str, object]) -> Port:
    shape, order = item["shape"], item["order"]
    if not isinstance(shape, list) or not isinstance(order, list):
        raise TypeError("a shape is no list")
    fields = {**item, "shape": tuple(map(int, shape)), "order": tuple(map(int, order))}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] -- JSON; int() looks at each
    port = Port(**fields)  # pyright: ignore[reportArgumentType] -- JSON; what does not fit is looked at below
    if sorted(port.order) != list(range(len(port.shape))):
        raise ValueError(f"{list(port.order)} is no order of axes")
    if not {port.dtype, port.value_type} <= TYPES:
        raise ValueError(f"{port.dtype} is no element type of a TFLite tensor")
    return port
