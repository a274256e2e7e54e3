"""How the values of an ONNX graph are held in a TFLite model: their types, encodings and axis orders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.delegates.litert.flat import Encoding
from npuopt.errors import InputError
from npuopt.graph import attribute, constant, input_at, is_constant, is_op, label, producer, rank, static_shape, users

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Node, Value

Order = tuple[int, ...]
"""Stored axis i of a tensor is axis order[i] of the ONNX value."""
QUANTIZED_TYPES = ("int8", "int16")
"""Element types of activations that TFLite's quantized kernels of today take."""


@dataclass(frozen=True)
class Held:
    """A tensor of the TFLite model that holds a value.

    Attributes:
        index: of the tensor.
        shape: as stored.
        dtype: its element type.
        encoding: None for what is not quantized.
        order: of its axes.
    """

    index: int
    shape: tuple[int, ...]
    dtype: str
    encoding: Encoding | None
    order: Order

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def axis(self, axis: int) -> int:
        """Return where an axis of the value lies."""
        return self.order.index(axis % len(self.order))


def plain(depth: int) -> Order:
    """Return the order of axes that ONNX has."""
    return tuple(range(depth))


def channels_last(depth: int) -> Order:
    """Return the order in which TFLite has images: batch, places, channels."""
    return (0, *range(2, depth), 1)


def dequantizer(value: Value | None) -> Node | None:
    """Return the DequantizeLinear that makes a value."""
    return producer(value, "DequantizeLinear")


def encoding_of(converter: Node) -> Encoding:
    """Return the encoding that a QuantizeLinear or DequantizeLinear has.

    Raises:
        InputError: it is not known at compile time, or is one for each block.
    """
    scale, zero = constant(input_at(converter, 1)), constant(input_at(converter, 2))
    if scale is None or (zero is None and input_at(converter, 2) is not None):
        raise InputError("its scale is not known at compile time", where=label(converter))
    if scale.ndim > 1 or attribute(converter, "block_size", 0):
        raise InputError("has a scale for each block, which TFLite's kernels do not take", where=label(converter))
    scales = tuple(float(item) for item in scale.astype(np.float32).reshape(-1))
    zeros = (0,) * len(scales) if zero is None else tuple(int(item) for item in zero.astype(np.int64).reshape(-1))
    axis = attribute(converter, "axis", 1)
    depth = rank(converter.inputs[0]) or 0
    return Encoding(scales, zeros, axis % depth if len(scales) > 1 and depth else 0)


def element(value: Value) -> str:
    """Return the name of a value's element type, as numpy has it.

    Raises:
        InputError: it is not known.
    """
    if value.dtype is None:
        raise InputError("its element type is not known", where=value.name or "")
    return value.dtype.numpy().name


def is_quantized(value: Value | None) -> bool:
    """Say whether a value is read from integers."""
    return dequantizer(value) is not None


def quantizers_of(value: Value) -> list[Node]:
    """Return the QuantizeLinear nodes that read a value, or none when something else reads it too."""
    readers = users(value)
    if value.is_graph_output() or not all(is_op(node, "QuantizeLinear") for node in readers):
        return []
    return readers


def is_float(value: Value | None) -> bool:
    """Say whether a value holds numbers of a float type."""
    return value is not None and value.dtype is not None and value.dtype.is_floating_point()


def computes_in_integers(node: Node, outputs: Sequence[Value]) -> bool:
    """Say whether all run-time float data of a node comes from integers and goes, as `outputs`, to integers."""
    given = [value for value in node.inputs if is_float(value) and not is_constant(value)]
    made = [value for value in outputs if is_float(value) and (value.uses() or value.is_graph_output())]
    if not (given or made) or not all(is_quantized(value) for value in given):
        return False
    if not given and not all(is_quantized(value) for value in node.inputs if is_float(value)):
        return False
    return all(quantizers_of(value) for value in made)


def shape_of(value: Value) -> tuple[int, ...]:
    """Return the shape of a value.

    Raises:
        InputError: it is not static.
    """
    shape = static_shape(value)
    if shape is None:
        raise InputError("its shape is not static", where=value.name or "", hint="freeze its dims with --dim")
    return shape


def expanded(array: np.ndarray, order: Order | None) -> np.ndarray:
    """Return an array with as many axes as `order` has: those that broadcasting adds come first."""
    missing = 0 if order is None else len(order) - array.ndim
    return array.reshape((1,) * missing + array.shape) if missing else array


def numbers(value: Value) -> np.ndarray:
    """Return what a constant holds.

    Raises:
        InputError: it is not known at compile time.
    """
    array = constant(value)
    if array is None:
        raise InputError("is not known at compile time", where=value.name or "")
    return array


def constant_encoding(value: Value, kind: str) -> Encoding:
    """Return the symmetric encoding in which a small float constant is held beside integers of type `kind`."""
    largest = float(np.abs(numbers(value).astype(np.float64)).max(initial=0.0)) or 1.0
    return Encoding((float(np.float32(largest / int(np.iinfo(kind).max))),), (0,))
